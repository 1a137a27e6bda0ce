#!/usr/bin/env bash
# Generates a language's stubs from the contract and builds its worker into
# build/examples/LANGUAGE/twenty_steps.
#
#   client/examples/build.sh go|java|python|ruby
#
# deploy/setup_languages.sh installs what it needs on Debian; python has it from
# deploy/setup.sh.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
language=${1-}
examples=$root/client/examples
protos=("$root"/proto/concord/v1/*.proto)
out=$root/build/examples/$language

# launcher COMMAND: a program twenty_steps that is COMMAND with its arguments.
launcher() {
  printf '#!/bin/sh\nexec %s "$@"\n' "$1" >"$out/twenty_steps"
  chmod +x "$out/twenty_steps"
}

case $language in
  go | java | python | ruby) ;;
  *)
    sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
    exit 2
    ;;
esac
rm -rf "$out"
mkdir -p "$out"

case $language in
  go)
    # Debian's packages are a GOPATH; the stubs are package concord/v1.
    package="Mconcord/v1/%s=concord/v1"
    options=()
    for proto in "${protos[@]}"; do
      # shellcheck disable=SC2059  # The format is ours.
      mapping=$(printf "$package" "$(basename "$proto")")
      options+=("--go_opt=$mapping" "--go-grpc_opt=$mapping")
    done
    mkdir -p "$out/path/src/twenty_steps"
    protoc -I "$root/proto" --go_out="$out/path/src" --go-grpc_out="$out/path/src" \
      "${options[@]}" "${protos[@]}"
    cp "$examples/go/twenty_steps.go" "$out/path/src/twenty_steps/"
    GO111MODULE=off GOFLAGS='' GOPATH="$out/path:/usr/share/gocode" \
      go build -o "$out/twenty_steps" twenty_steps
    ;;
  java)
    mkdir -p "$out/source" "$out/classes"
    protoc -I "$root/proto" --java_out="$out/source" --grpc-java_out="$out/source" \
      --plugin=protoc-gen-grpc-java="$(command -v grpc_java_plugin)" "${protos[@]}"
    classes=$(printf '/usr/share/java/%s.jar:' \
      grpc-api grpc-context grpc-core grpc-netty grpc-protobuf grpc-protobuf-lite grpc-stub \
      protobuf guava gson perfmark-api perfmark-impl opencensus-api geronimo-annotation-1.3-spec \
      netty-buffer netty-codec netty-codec-http netty-codec-http2 netty-common netty-handler \
      netty-handler-proxy netty-resolver netty-transport)
    find "$out/source" "$examples/java" -name '*.java' -print0 |
      xargs -0 javac -nowarn -Xlint:none -cp "$classes" -d "$out/classes"
    launcher "java -cp '$out/classes:$classes' TwentySteps"
    ;;
  python)
    mkdir -p "$out/stubs"
    protoc -I "$root/proto" --python_out="$out/stubs" --grpc_python_out="$out/stubs" \
      --plugin=protoc-gen-grpc_python="$(command -v grpc_python_plugin)" "${protos[@]}"
    # Packages, so that they come before an installed `concord`.
    touch "$out/stubs/concord/__init__.py" "$out/stubs/concord/v1/__init__.py"
    launcher "env PYTHONPATH='$out/stubs' '$root/.venv/bin/python' '$examples/python_stubs/twenty_steps.py'"
    ;;
  ruby)
    mkdir -p "$out/stubs"
    protoc -I "$root/proto" --ruby_out="$out/stubs" --grpc_ruby_out="$out/stubs" \
      --plugin=protoc-gen-grpc_ruby="$(command -v grpc_ruby_plugin)" "${protos[@]}"
    launcher "ruby -I '$out/stubs' '$examples/ruby/twenty_steps.rb'"
    ;;
esac

#!/usr/bin/env bash
# Everything from a fresh clone to built programs: distribution packages, the
# Python environment in .venv, the C++ build in build/. Run it again at any
# time: what is there is left alone, and it then takes seconds.
#
#   deploy/setup.sh        Debian 12 and 13, Ubuntu 24.04; root or sudo where
#                          packages are missing
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PACKAGES=(
  ca-certificates cmake g++ git ninja-build pkg-config
  libabsl-dev libc-ares-dev libcivetweb-dev libcli11-dev libeigen3-dev libgmock-dev libgrpc++-dev
  libgtest-dev libhwy-dev libprotobuf-dev libre2-dev libssl-dev libtbb-dev
  libxxhash-dev nlohmann-json3-dev prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc
  python3 python3-dev python3-venv zlib1g-dev
)

# The names in PACKAGES that are not installed, one a line.
missing_packages() {
  comm -13 \
    <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${PACKAGES[@]}" 2>/dev/null |
      sed -n 's/^installed //p' | sort -u) \
    <(printf '%s\n' "${PACKAGES[@]}" | sort -u)
}

install_packages() {
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "$@"
}

# PyTorch is python3's own where it has one, so that a machine's CUDA build is
# used; else the newest from PyPI.
create_venv() {
  local options=()
  if python3 -c 'import torch' 2>/dev/null; then options=(--system-site-packages); fi
  python3 -m venv "${options[@]}" .venv
}

# Its wheels are gigabytes: not kept in pip's cache beside what is installed,
# and unpacked on the disk that they go to, as /tmp is often a small one.
install_torch() {
  if .venv/bin/python -c 'import torch' 2>/dev/null; then return; fi
  mkdir -p .venv/tmp
  TMPDIR="$ROOT/.venv/tmp" .venv/bin/pip install --no-cache-dir torch
  rm -rf .venv/tmp
}

install_package() {
  # --no-deps: its dependencies are those above, PyTorch not from elsewhere.
  .venv/bin/pip install --no-build-isolation --no-deps -e client/python
}

# once NAME KEY COMMAND...: a step that is left out where it has succeeded
# before with the same KEY. The stamp is written last, so that a step that was
# interrupted is done again.
once() {
  local name=$1 key=$2 stamp
  shift 2
  stamp=.venv/.concord-${name//[^A-Za-z0-9]/_}
  if [[ -f $stamp && $(<"$stamp") == "$key" ]]; then
    skip "$name" "is there"
    return
  fi
  step "$name" "$@"
  printf '%s\n' "$key" >"$stamp"
}

content_key() { cat "$@" | sha256sum | cut -d' ' -f1; }

begin=$EPOCHREALTIME
printf 'Setting Concord up in %s\n' "$ROOT"

mapfile -t missing < <(missing_packages)
if ((${#missing[@]} > 0)); then
  printf 'Missing packages: %s\n' "${missing[*]}"
  step "distribution packages" install_packages "${missing[@]}"
else
  skip "distribution packages" "are there"
fi

if [[ -x .venv/bin/python ]] && .venv/bin/python -m pip --version >/dev/null 2>&1; then
  skip "python environment .venv" "is there"
else
  rm -rf .venv
  step "python environment .venv" create_venv
fi
python_key=$(.venv/bin/python -c 'import sys; print(sys.version)' | content_key)
once "PyTorch" "$python_key" install_torch
once "python packages" "$python_key $(content_key deploy/requirements.txt)" \
  .venv/bin/pip install -r deploy/requirements.txt
once "concord for python, editable" "$python_key $(content_key client/python/pyproject.toml) $ROOT" \
  install_package

# ccache where there is one. CMake configures itself again when its files
# change; the preset is given anew only for a new build tree.
launcher=()
if command -v ccache >/dev/null; then
  launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
fi
if [[ -f build/build.ninja ]]; then
  skip "cmake --preset release" "is there"
else
  step "cmake --preset release" cmake --preset release "${launcher[@]}"
fi
step "ninja" cmake --build build
printf 'Set up in %s\n' "$(since "$begin")"

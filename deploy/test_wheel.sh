#!/usr/bin/env bash
# The wheel of deploy/build_wheel.sh in an empty virtual environment: README's
# first example embedded, then with the concord-server that the wheel brings.
# Installs PyTorch there, which takes minutes.
#
#   deploy/test_wheel.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

directory=$(mktemp -d)
server_pid=
clean_up() {
  if [[ -n $server_pid ]]; then
    kill "$server_pid" 2>/dev/null || true
    wait "$server_pid" || true
  fi
  rm -rf "$directory"
}
trap clean_up EXIT

step "empty virtual environment" .venv/bin/python -m venv "$directory/venv"
step "wheel, PyTorch, numpy" "$directory/venv/bin/pip" install dist/concord-*.whl
cp tests/wheel/first_example.py README.md "$directory"

# Away from the repository, so that nothing of it is found by chance.
in_wheel() {
  (cd "$directory" && env -u PYTHONPATH "$@" venv/bin/python first_example.py README.md) \
    >"$directory/digest"
}

step "README's first example, embedded" in_wheel -u CONCORD_SERVER
embedded=$(<"$directory/digest")
"$directory/venv/bin/concord-server" --listen="unix:$directory/socket" >"$directory/log" 2>&1 &
server_pid=$!
step "README's first example, on a server" in_wheel CONCORD_SERVER="unix:$directory/socket"
served=$(<"$directory/digest")
step "concord health" "$directory/venv/bin/concord" health --server="unix:$directory/socket"
if [[ $embedded != "$served" ]]; then
  printf 'Embedded and served differ: %s, %s\n' "$embedded" "$served" >&2
  exit 1
fi
printf 'The same bits embedded and served: %s\n' "$embedded"

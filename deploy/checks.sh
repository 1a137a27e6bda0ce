# shellcheck shell=bash
# Shared by the scripts that test: counts what passed, failed and was skipped.
# Sourced after lib.sh. Goes on after a failed check, so that one run tells all.

passed=0 failed=0 skipped=0

# add PASSED FAILED SKIPPED
add() { passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3)); }

# check NAME COMMAND...: counts as one test. A function may be given: it ends at
# its first command that fails.
check() {
  local name=$1 log="$ROOT/build/logs/check_${1//[^A-Za-z0-9]/_}.log"
  local start=$EPOCHREALTIME status on_error
  shift
  mkdir -p "${log%/*}"
  printf '%-44s' "$name"
  # Not in a condition, which would switch errexit off inside as well.
  on_error=$(trap -p ERR)
  trap - ERR
  set +e
  (
    set -e
    "$@"
  ) >"$log" 2>&1
  status=$?
  set -e
  eval "$on_error"
  if ((status == 0)); then
    add 1 0 0
    printf ' %s\n' "$(since "$start")"
  else
    add 0 1 0
    printf ' FAILED: %s\n' "$(as_text "$@")"
    tail -n 40 "$log"
  fi
}

# check_with PROGRAM NAME COMMAND...: a check that needs a program of the machine.
check_with() {
  local program=$1
  shift
  if command -v "$program" >/dev/null; then
    check "$@"
  else
    add 0 0 1
    skip "$1" "skipped: no $program"
  fi
}

# finish BEGIN: the closing line; the status is 0 where nothing failed.
finish() {
  printf 'All in %s\n' "$(since "$1")"
  printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
  ((failed == 0)) || exit 1
}

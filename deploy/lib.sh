# shellcheck shell=bash
# Shared by the scripts in deploy/: steps with their time, errors with the
# command that failed. Source it first; it leaves the shell in the repository's
# root, with errexit on.
set -Eeuo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
STEP_LOG=

# Where a script ends early, says so: the command, and the end of its output.
report_failure() {
  local status=$1 command=$2 line=$3
  trap - ERR
  # A subshell's failure is reported once, by the shell around it.
  if ((BASH_SUBSHELL > 0)); then exit "$status"; fi
  {
    printf '\nFAILED (status %s, %s line %s): %s\n' "$status" "$0" "$line" "$command"
    if [[ -n $STEP_LOG && -s $STEP_LOG ]]; then
      printf -- '--- the end of %s\n' "${STEP_LOG#"$ROOT"/}"
      tail -n 40 "$STEP_LOG"
    fi
  } >&2
  exit "$status"
}
trap 'report_failure $? "$BASH_COMMAND" "$LINENO"' ERR

# as_text COMMAND...: the command as one would type it.
as_text() {
  local text
  printf -v text '%q ' "$@"
  printf '%s' "${text% }"
}

# step NAME COMMAND...: runs the command quietly, its output in a log of its
# own; prints name and time. On failure: command, and the log's end.
step() {
  local name=$1 begin=$EPOCHREALTIME status=0
  shift
  mkdir -p "$ROOT/build/logs"
  STEP_LOG="$ROOT/build/logs/${name//[^A-Za-z0-9]/_}.log"
  printf '%-44s' "$name"
  "$@" >"$STEP_LOG" 2>&1 || status=$?
  if ((status != 0)); then
    printf ' failed after %s\n' "$(since "$begin")"
    report_failure "$status" "$(as_text "$@")" "${BASH_LINENO[0]}"
  fi
  printf ' %s\n' "$(since "$begin")"
}

# skip NAME WHY: a step that has nothing to do.
skip() { printf '%-44s %s\n' "$1" "$2"; }

# since BEGIN: the time from BEGIN, an $EPOCHREALTIME, until now. The decimal
# sign is the locale's.
since() {
  local from=${1/[.,]/} now=${EPOCHREALTIME/[.,]/}
  local tenths=$(((now - from) / 100000))
  printf '%d.%d s' $((tenths / 10)) $((tenths % 10))
}

# as_root COMMAND...: with sudo where needed.
as_root() {
  if ((EUID == 0)); then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    printf 'This needs root, and there is no sudo: %s\n' "$(as_text "$@")" >&2
    return 1
  fi
}

#!/usr/bin/env bash
# All tests: sets up, then C++, Python, and C++ once more under AddressSanitizer
# and UndefinedBehaviorSanitizer, and the style of the sources. Goes on after a
# failed test, so that one run tells all; a build that fails ends it. The last
# line sums up, and the status is 0 where nothing failed.
#
#   deploy/test.sh             everything
#   deploy/test.sh --quick     without the sanitizers
#
# Containers are another script's, deploy/test-containers.sh.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
source "$ROOT/deploy/checks.sh"

quick=false
case "$*" in
  '') ;;
  --quick) quick=true ;;
  *)
    printf 'Usage: deploy/test.sh [--quick]\n' >&2
    exit 2
    ;;
esac

begin=$EPOCHREALTIME

# suite NAME JUNIT COMMAND...: runs tests that write a JUnit file, and counts
# them. One that fails without a failed test in the file (a crash, no tests at
# all) is a failure too.
suite() {
  local name=$1 junit=$2 log="$ROOT/build/logs/tests_${1//[^A-Za-z0-9]/_}.log"
  local start=$EPOCHREALTIME status=0 counts
  shift 2
  mkdir -p "${log%/*}"
  rm -f "$junit"
  printf '%-44s' "$name"
  "$@" >"$log" 2>&1 || status=$?
  counts=$(.venv/bin/python deploy/count_tests.py "$junit" "$status")
  # shellcheck disable=SC2086  # Three numbers.
  add $counts
  printf ' %s: %s (passed, failed, skipped)\n' "$(since "$start")" "$counts"
  if ((status != 0)); then
    printf 'FAILED (status %s): %s\n' "$status" "$(as_text "$@")"
    printf -- '--- the end of %s\n' "${log#"$ROOT"/}"
    tail -n 60 "$log"
  fi
}

# Other versions lay out some lines otherwise.
check_format() {
  local -a sources
  if ! clang-format --version | grep -q 'version 14\.'; then
    echo 'not clang-format 14: nothing checked'
    return
  fi
  mapfile -d '' -t sources < <(git ls-files -z -- '*.cc' '*.cpp' '*.h')
  clang-format --dry-run --Werror "${sources[@]}"
}

deploy/setup.sh
printf '\n'

# Several test processes share the cores: idle threads must not spin on them.
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

suite "C++" "$ROOT/build/ctest.xml" \
  ctest --test-dir build --parallel 2 --output-on-failure --no-tests=error \
  --output-junit "$ROOT/build/ctest.xml"
suite "Python" "$ROOT/build/pytest.xml" \
  .venv/bin/python -m pytest -c tests/python/pytest.ini --rootdir . -q --durations=10 \
  -n 2 --dist loadfile --junit-xml "$ROOT/build/pytest.xml" tests

check "ruff" .venv/bin/ruff check client tests deploy docs
check "mypy" .venv/bin/mypy --config-file client/python/pyproject.toml client/python/concord
check "documentation as a site" deploy/docs.sh
check_with clang-format "clang-format" check_format
check_with promtool "alert rules" promtool check rules deploy/prometheus/alerts.yaml
check_with promtool "when alerts fire" promtool test rules deploy/prometheus/alerts_test.yaml
check_with shellcheck "shellcheck" shellcheck -x -P deploy deploy/*.sh deploy/*/*.sh .ci/run

if ! $quick; then
  launcher=()
  if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache -DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  fi
  # The preset has both sanitizers: one build, one run.
  step "cmake --preset asan" cmake --preset asan "${launcher[@]}"
  step "ninja, with sanitizers" cmake --build build-asan
  suite "C++ with sanitizers" "$ROOT/build-asan/ctest.xml" \
    ctest --test-dir build-asan --parallel 2 --output-on-failure --no-tests=error \
    --output-junit "$ROOT/build-asan/ctest.xml"
fi

finish "$begin"

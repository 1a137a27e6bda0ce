#!/usr/bin/env bash
# The main job, end to end: three worker processes learn Burgers' equation
# through a concord-server, beside Adam with the same CPU time. Under two
# minutes on two cores after set-up; the picture is left in demo-output/.
#
#   deploy/demo.sh [--seeds 1 2 3 4 5] [--iterations 10000] [--output DIR]
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

deploy/setup.sh
printf '\n'

# One thread each: there are as many processes as cores, or more.
export PYTHONPATH="$ROOT/client/examples" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
exec .venv/bin/python -m burgers "$@"

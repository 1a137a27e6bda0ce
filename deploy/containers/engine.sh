# shellcheck shell=bash
# Sourced after lib.sh by what needs a container engine: finds one, or starts one
# for as long as the script runs.
#
#   need_engine     status 1, with the reason in ENGINE_MISSING, where none can run
#   docker          the command line that fits the engine
#   compose         docker compose, or the docker-compose of Debian 12
#   stop_engine     the one that was started here, if any
# shellcheck disable=SC2034  # For whoever sources this.
ENGINE_MISSING=
ENGINE_FOLDER=${CONCORD_ENGINE:-$ROOT/build/engine}
ENGINE_PID=
DOCKER=docker
export DOCKER_BUILDKIT=1

docker() { command "$DOCKER" "$@"; }

# A command line of version 23 and later builds by a plugin only. Where that is
# missing, Debian's own, older one may be there beside it.
choose_docker() {
  local candidate
  for candidate in docker /usr/bin/docker; do
    DOCKER=$candidate
    if ! docker --version >/dev/null 2>&1; then continue; fi
    if docker buildx version >/dev/null 2>&1; then return; fi
    if [[ $(docker --version) =~ version\ (1[89]|2[0-2])\. ]]; then return; fi
  done
  return 1
}

compose() {
  if docker compose version >/dev/null 2>&1; then
    docker compose "$@"
  else
    docker-compose "$@"
  fi
}

has_compose() {
  docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null
}

need_engine() {
  if ! docker info >/dev/null 2>&1; then start_engine || return 1; fi
  if ! choose_docker; then
    ENGINE_MISSING="no docker that can build: buildx, or a docker older than 23, is needed"
    return 1
  fi
  if ! has_compose; then
    ENGINE_MISSING="neither docker compose nor docker-compose is there"
    return 1
  fi
}

# Of Debian's packages. Its images stay in CONCORD_ENGINE, or build/engine, for the
# next time.
start_engine() {
  if ((EUID != 0)); then
    ENGINE_MISSING="no container engine runs, and only root can start one"
    return 1
  fi
  if ! command -v dockerd >/dev/null || ! command -v iptables >/dev/null || ! has_compose; then
    step "packages of the container engine" install_engine
  fi
  mkdir -p "$ENGINE_FOLDER"
  setsid dockerd --data-root "$ENGINE_FOLDER/data" --exec-root "$ENGINE_FOLDER/run" \
    --pidfile "$ENGINE_FOLDER/dockerd.pid" </dev/null >"$ENGINE_FOLDER/dockerd.log" 2>&1 &
  ENGINE_PID=$!
  for _ in {1..60}; do
    if docker info >/dev/null 2>&1; then return; fi
    if ! kill -0 "$ENGINE_PID" 2>/dev/null; then break; fi
    sleep 0.5
  done
  ENGINE_MISSING="dockerd did not start: $(tail -n 1 "$ENGINE_FOLDER/dockerd.log")"
  stop_engine
  return 1
}

install_engine() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    docker.io docker-compose iptables
}

stop_engine() {
  if [[ -z $ENGINE_PID ]]; then return; fi
  kill "$ENGINE_PID" 2>/dev/null || true
  wait "$ENGINE_PID" 2>/dev/null || true
  ENGINE_PID=
}

#!/usr/bin/env bash
# Makes an image that stands in for debian:trixie-slim where no image registry
# can be reached, from Debian's packages alone: debootstrap's smallest system,
# with the settings of the official image. The authorities that an
# administrator has added to this machine are trusted in it too, so that pip
# works behind a proxy that has one of its own.
#
#   deploy/containers/make_base.sh [IMAGE [RELEASE]]    debian:trixie-slim trixie
#
# Needs root and a running engine; under a minute.
# shellcheck source=deploy/lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

image=${1:-debian:trixie-slim}
release=${2:-trixie}
authorities=/usr/local/share/ca-certificates

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
chmod 755 "$folder"

# The release's updates and security fixes, from where debootstrap took it.
write_sources() {
  local line
  line=$(grep -m 1 '^deb ' etc/apt/sources.list)
  {
    printf '%s\n' "$line"
    printf '%s\n' "${line/ $release / $release-updates }"
    printf '%s\n' "$line" |
      sed "s#/debian/\? $release #/debian-security $release-security #"
  } >etc/apt/sources.list
}

write_settings() {
  cat >etc/apt/apt.conf.d/docker-clean <<'END'
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/archives/partial/*.deb /var/cache/apt/*.bin || true"; };
Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";
Acquire::Languages "none"; Acquire::GzipIndexes "true"; Apt::AutoRemove::SuggestsImportant "false";
END
  printf 'path-exclude /usr/share/%s/*\n' doc man groff info lintian locale \
    >etc/dpkg/dpkg.cfg.d/docker
}

# Bundles and apt's lists are left to whoever installs ca-certificates there.
add_authorities() {
  local file
  for file in "$authorities"/*.crt; do
    [[ -f $file ]] || continue
    mkdir -p ".$authorities"
    cp "$file" ".$authorities/"
  done
}

make_base() {
  debootstrap --variant=minbase "$release" "$folder"
  cd "$folder" || return
  write_sources
  write_settings
  add_authorities
  rm -rf usr/share/{doc,man,info,locale,groff,lintian}/* var/cache/apt/* var/lib/apt/lists/*
  tar -C . -c . | docker import --change 'CMD ["bash"]' - "$image"
}

if ! command -v debootstrap >/dev/null; then
  step "debootstrap" apt-get install -y -qq --no-install-recommends debootstrap
fi
step "base image $image" make_base

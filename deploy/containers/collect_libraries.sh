#!/bin/sh
# Copies the shared libraries that programs need, and those that these need,
# into one folder; the C library's own are the base image's.
#
#   collect_libraries.sh FOLDER FILE... [-- WHERE...]
#
# WHERE: folders beside the system's, at any depth of which libraries lie.
set -eu

target=$1
shift
files=$(mktemp)
folders=$(mktemp)
trap 'rm -f "$files" "$folders"' EXIT

while [ $# -gt 0 ] && [ "$1" != -- ]; do
  printf '%s\n' "$1" >>"$files"
  shift
done
if [ $# -gt 0 ]; then
  shift
  find "$@" -name '*.so*' -printf '%h\n' | sort -u >"$folders"
fi

# "  libname.so.1 => /path/libname.so.1 (0x…)", as the program loader finds them.
needed() {
  while read -r file; do
    LD_LIBRARY_PATH=$(paste -s -d : "$folders") ldd "$file"
  done <"$files" | sort -u
}

found=$(needed)
if printf '%s\n' "$found" | grep 'not found' >&2; then exit 1; fi
libc=$(dpkg -L libc6 | sed -n 's#.*/\(.*\.so\.[0-9]*\)$#\1#p')
mkdir -p "$target"
# Each under the name that it is asked for by.
printf '%s\n' "$found" | sed -n 's#^[[:space:]]*\([^ ]*\) => \(/[^ ]*\) .*#\1 \2#p' | sort -u |
  while read -r name path; do
    if printf '%s\n' "$libc" | grep -qxF "$name" || [ -e "$target/$name" ]; then continue; fi
    cp -L "$path" "$target/$name"
  done

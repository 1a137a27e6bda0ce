#!/usr/bin/env bash
# A certificate authority for tests and trials, and certificates that it issues.
# Not for anything that matters: its key lies unprotected beside it.
#
#   deploy/tls/make_ca.sh DIR                      DIR/ca.pem, ca.key
#   deploy/tls/make_ca.sh DIR NAME [HOST...]       DIR/NAME.pem, NAME.key, for
#                                                  these hosts (default: localhost,
#                                                  127.0.0.1 and ::1)
#   DAYS=-1 deploy/tls/make_ca.sh DIR NAME         one that has expired
#
# The authority is made where there is none yet. A certificate's common name is
# NAME: by it a server with --tls-client-ca and without tokens knows its callers.
set -euo pipefail

if [[ $# -lt 1 ]]; then
  sed -n '2,/^set /p' "$0" | sed -n 's/^# \{0,1\}//p' >&2
  exit 2
fi
dir=$1
name=${2-}
shift $(($# < 2 ? $# : 2))
hosts=("$@")
days=${DAYS:-30}
[[ ${#hosts[@]} -gt 0 ]] || hosts=(localhost 127.0.0.1 ::1)

umask 077
mkdir -p "$dir"
if [[ ! -e $dir/ca.pem ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch \
    -subj "/CN=Concord test authority" -days 365 \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" \
    -keyout "$dir/ca.key" -out "$dir/ca.pem" 2>/dev/null
fi
[[ -n $name ]] || exit 0

names=()
for host in "${hosts[@]}"; do
  if [[ $host =~ ^[0-9.]+$ || $host == *:* ]]; then names+=("IP:$host"); else names+=("DNS:$host"); fi
done
extensions=$(
  echo "subjectAltName=$(IFS=,; echo "${names[*]}")"
  echo "basicConstraints=critical,CA:FALSE"
  echo "keyUsage=critical,digitalSignature"
  echo "extendedKeyUsage=serverAuth,clientAuth"
)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -batch \
  -subj "/CN=$name" -keyout "$work/key" -out "$work/request" 2>/dev/null
openssl x509 -req -in "$work/request" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" \
  -set_serial "0x$(openssl rand -hex 8)" -days "$days" -extfile <(echo "$extensions") \
  -out "$work/certificate" 2>/dev/null
# Who reads the pair while it is replaced finds both old or both new for all but
# an instant.
mv "$work/key" "$dir/$name.key"
mv "$work/certificate" "$dir/$name.pem"

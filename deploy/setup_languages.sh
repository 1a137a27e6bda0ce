#!/usr/bin/env bash
# What the workers in other languages need (client/examples/build.sh): Debian's
# Go, Java and Ruby with their gRPC, some 700 MB. The server, the clients in C++
# and Python and the tests do without: what is not there is skipped.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

PACKAGES=(
  protobuf-compiler protobuf-compiler-grpc
  golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev
  protoc-gen-go-1-5 protoc-gen-go-grpc
  default-jdk-headless libgrpc-java libprotobuf-java libnetty-java libperfmark-java
  libguava-java libgoogle-gson-java libgeronimo-annotation-1.3-spec-java
  protobuf-compiler-grpc-java-plugin
  ruby ruby-grpc
)

install_packages() {
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}"
}

step "languages" install_packages

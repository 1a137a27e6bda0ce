# Concord's images; docs/deploy.md tells how they are run.
#
#   docker build --target cpu    -t concord:cpu .     the server, without LibTorch
#   docker build --target cuda   -t concord:cuda .    and with the kernels for NVIDIA GPUs
#   docker build --target worker -t concord:worker .  Python, PyTorch and the demo's workers
#
# Debian's packages and PyPI's are all that is fetched, and the base image.
# Where no image registry can be reached, deploy/containers/make_base.sh makes one.
ARG BASE=debian:trixie-slim

# ---- What compiles: the distribution's libraries, as in deploy/setup.sh.
FROM ${BASE} AS toolchain
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates cmake g++ ninja-build pkg-config \
      libabsl-dev libc-ares-dev libcivetweb-dev libcli11-dev libeigen3-dev libgrpc++-dev \
      libhwy-dev libprotobuf-dev libre2-dev libssl-dev libtbb-dev libxxhash-dev \
      nlohmann-json3-dev prometheus-cpp-dev protobuf-compiler protobuf-compiler-grpc \
      python3 python3-dev python3-venv zlib1g-dev && \
    rm -rf /var/lib/apt/lists/*
# pip trusts the authorities that the system trusts.
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt PIP_NO_CACHE_DIR=1 PATH=/venv/bin:$PATH
RUN python3 -m venv /venv && \
    pip install googleapis-common-protos nanobind

# ---- What is compiled.
FROM toolchain AS source
WORKDIR /src
COPY CMakeLists.txt ./
COPY deploy/cmake deploy/cmake
COPY proto proto
COPY operators operators
COPY server server
COPY client/cpp client/cpp
COPY client/cli client/cli
COPY client/examples/cpp client/examples/cpp
COPY deploy/containers/collect_libraries.sh deploy/containers/
RUN printf '%s\n' 'set(CMAKE_BUILD_TYPE Release CACHE STRING "")' \
      'set(Python_EXECUTABLE /venv/bin/python CACHE FILEPATH "")' \
      'set(CONCORD_TORCH OFF CACHE BOOL "")' 'set(CONCORD_CUDA OFF CACHE BOOL "")' \
      'set(CONCORD_PYTHON OFF CACHE BOOL "")' 'set(CONCORD_TESTS OFF CACHE BOOL "")' >image.cmake

# ---- The programs.
FROM source AS build
RUN cmake -S . -B build -G Ninja -C image.cmake && \
    cmake --build build --target concord-server concord
RUN install -s -D -t /image/usr/local/bin build/bin/concord-server build/bin/concord && \
    deploy/containers/collect_libraries.sh /image/usr/local/lib/concord /image/usr/local/bin/*

# ---- The cuda kernels. Their runtime is linked into them.
FROM toolchain AS nvcc
ARG CUDA=13.2
# The wheels lack the name that CMake looks for.
RUN pip install "cuda-toolkit[nvcc,cccl]==${CUDA}.*" && \
    for library in /venv/lib/python3*/site-packages/nvidia/cu*/lib/libcudart.so.*; do \
      ln -s "$library" "${library%.so.*}.so"; \
    done

FROM nvcc AS build-cuda
COPY --from=source /src /src
WORKDIR /src
RUN toolkit=$(echo /venv/lib/python3*/site-packages/nvidia/cu*) && \
    cmake -S . -B build -G Ninja -C image.cmake -DCONCORD_CUDA=ON -DCUDAToolkit_ROOT="$toolkit" && \
    cmake --build build --target concord_cuda && \
    install -s -D -t /image/usr/local/lib build/lib/libconcord_cuda.so && \
    deploy/containers/collect_libraries.sh /image/usr/local/lib/concord \
      /image/usr/local/lib/libconcord_cuda.so

# ---- PyTorch of PyPI, whose libraries the torch kernels stand on.
FROM toolchain AS torch
ARG TORCH=torch
RUN pip install "${TORCH}"

FROM torch AS build-torch
COPY --from=source /src /src
WORKDIR /src
RUN cmake -S . -B build -G Ninja -C image.cmake -DCONCORD_TORCH=ON && \
    cmake --build build --target concord_torch
# The libraries that LibTorch opens by their names, at run time, and what they need.
RUN wheels=$(python -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') && \
    install -s -D -t /image/usr/local/lib build/lib/libconcord_torch.so && \
    install -D -t /image/usr/local/lib/concord "$wheels/torch/lib/libtorch_cuda.so" \
      "$wheels/torch/lib/libcaffe2_nvrtc.so" "$wheels"/nvidia/*/lib/libnvrtc-builtins.so.* && \
    deploy/containers/collect_libraries.sh /image/usr/local/lib/concord \
      /image/usr/local/lib/concord/libtorch_cuda.so /image/usr/local/lib/libconcord_torch.so \
      -- "$wheels/torch/lib" "$wheels/nvidia"

# ---- The Python package and its native module.
FROM build AS build-python
COPY client/python client/python
RUN cmake -S . -B build -DCONCORD_PYTHON=ON && \
    cmake --build build --target concord_python && \
    strip --strip-unneeded client/python/concord/_native*.so && \
    install -d /image/opt/concord/python && \
    cp -r client/python/concord /image/opt/concord/python/ && \
    deploy/containers/collect_libraries.sh /image/usr/local/lib/concord \
      client/python/concord/_native*.so
COPY client/examples/burgers /image/opt/concord/examples/burgers

# ---- What every image of the server has, but for the programs.
FROM ${BASE} AS runtime
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="Concord" \
      org.opencontainers.image.description="Conflict-free gradient combination for training jobs, over gRPC" \
      org.opencontainers.image.documentation="docs/deploy.md" \
      org.opencontainers.image.version="${VERSION}"
# The folders' owner is the service, and so is that of new volumes there.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin concord && \
    install -d -o concord -g concord -m 0700 /var/lib/concord /run/concord && \
    echo /usr/local/lib/concord >/etc/ld.so.conf.d/concord.conf
# All that is written: the root file system may be read-only.
VOLUME ["/var/lib/concord", "/run/concord"]
EXPOSE 50051 9464
# The socket is always there, whoever may call from elsewhere: for the health
# check, and for `docker exec … concord sessions list`.
ENV CONCORD_SERVER=unix:/run/concord/concord.sock
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["concord", "health"]
ENTRYPOINT ["concord-server", "--listen=unix:/run/concord/concord.sock", "--state-dir=/var/lib/concord"]

# ---- The server with the kernels for GPUs: cuda's, and torch's where those cannot be used.
FROM runtime AS cuda
COPY --from=build-torch /image/ /
COPY --from=build-cuda /image/ /
COPY --from=build /image/ /
RUN ldconfig
# For NVIDIA's container toolkit, which brings the driver.
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001

# ---- A worker of the demo: Debian's PyTorch, for CPUs.
FROM ${BASE} AS worker
RUN apt-get update && \
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      ca-certificates python3 python3-numpy python3-torch && \
    rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /nonexistent \
      --shell /usr/sbin/nologin concord && \
    install -d -o concord -g concord -m 0700 /var/lib/burgers && \
    echo /usr/local/lib/concord >/etc/ld.so.conf.d/concord.conf
COPY --from=build-python /image/ /
RUN ldconfig
ENV PYTHONPATH=/opt/concord/python:/opt/concord/examples PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
VOLUME ["/var/lib/burgers"]
USER 10001:10001
ENTRYPOINT ["python3", "-m", "burgers.join"]

# ---- The server, for CPUs: last, so that it is what a build without a target gives.
FROM runtime AS cpu
COPY --from=build /image/ /
RUN ldconfig
USER 10001:10001

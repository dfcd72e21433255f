#!/usr/bin/env bash
# Checks and measures rft on a machine with one NVIDIA GPU; writes results.json and results.md.
#
#   bash benchmarks/gpu/run.sh --rft DIR [--only limits,models,decode_05b] [--out DIR] [--budget SECONDS]
#   bash benchmarks/gpu/run.sh --smoke          # all of it on the CPU, at toy sizes
#
# DIR holds rft, librft.so, rft_cuda.so and what they need beside PyTorch; cuda_tests and gpu_bench where they are to run.
# Python with PyTorch, transformers, peft and accelerate is expected (PYTHON names another); TRL, datasets and Liger come from
# .whl where the machine has no network: benchmarks/gpu/wheels.sh puts them there. Parts: `run.py --help`.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 RFT_GPU_BEGIN=${RFT_GPU_BEGIN:-$(date +%s.%N)}
has_peers='import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ("trl", "datasets", "liger_kernel"))))'
if compgen -G "$root/.whl/*.whl" >/dev/null && ! "$python" -c "$has_peers"; then
  site=${TMPDIR:-/tmp}/rft-gpu-site
  [ -d "$site/trl" ] || "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$root"/.whl/*.whl
  export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}
fi
exec "$python" "$root/benchmarks/gpu/run.py" "$@"

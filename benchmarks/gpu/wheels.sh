#!/usr/bin/env bash
# Downloads into .whl the Python packages that the peers need beside PyTorch, transformers 5.17, peft and accelerate, for a
# machine without network: Linux, x86-64, Python 3.12. 2.6 MB. benchmarks/gpu/run.sh installs them there.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
cd "$root"
exclude=$(git rev-parse --git-path info/exclude)
grep -qx /.whl/ "$exclude" || echo /.whl/ >>"$exclude"
platforms=()
for version in _2_28 _2_27 _2_17 2014 1; do platforms+=(--platform "manylinux${version}_x86_64"); done
# datasets 4.7 and not 5: it takes huggingface_hub 1 and pyarrow 21.
${PYTHON:-python3} -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
  -d "$root/.whl" trl==1.16.0 liger-kernel==0.8.5 datasets==4.7.0 dill==0.4.0 multiprocess==0.70.18
du -sh "$root/.whl"

#!/usr/bin/env bash
# Builds everything on a bare machine and runs every test. Ends with "N passed, N failed".
#   bash tests/run.sh [PRESET] [ctest options]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset=${1:-release}
shift || true
bash cmake/bootstrap.sh "$preset"
jobs=$(( $(nproc) < 2 ? 1 : 2 ))
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
ctest --test-dir "build/$preset" -j "$jobs" --output-on-failure --timeout 1200 "$@" 2>&1 | tee "$log" || status=$?
exit "$status"

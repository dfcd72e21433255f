#!/usr/bin/env bash
# From a bare machine to a robot that learned to run: builds rft and trains HalfCheetah by PPO in MuJoCo. Leaves curves, a
# film of an episode, and a policy that `rft act` runs.
#   bash examples/quickstart_control.sh [--seed N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seed=0
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --help|-h) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart_control.sh: unknown argument '$1'; known: --seed N" >&2; exit 2 ;;
  esac
done

bash cmake/bootstrap.sh release rft_main
rft=build/release/rft
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

run=runs/quickstart-control
mkdir -p runs
"$rft" act configs/quickstart_control.yaml --out "$run-before" --greedy > "$run-before.json"
"$rft" train configs/quickstart_control.yaml run.seed="$seed"
"$rft" act "$run" --out "$run/film" --greedy > "$run/film.json"
return_of() { sed -n 's/.*"episode\/return":\([-0-9.eE+]*\).*/\1/p' "$1"; }
LC_ALL=C printf 'return of an episode, untrained and trained: %.0f -> %.0f (%s/film/episode.gif)\n' \
  "$(return_of "$run-before.json")" "$(return_of "$run/film.json")" "$run"

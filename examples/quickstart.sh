#!/usr/bin/env bash
# From a bare machine to a language model that learned from a reward: builds rft, makes a small task, trains a model of
# about 1 M weights from scratch on worked solutions that often forget the carries (sft), then by reward alone (grpo).
#   bash examples/quickstart.sh [--seed N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seed=0
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --help|-h) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$1'; known: --seed N" >&2; exit 2 ;;
  esac
done

bash cmake/bootstrap.sh release rft_main
rft=build/release/rft
run=runs/quickstart
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

"$rft" data --out runs/quickstart-data --seed "$seed"
"$rft" train configs/quickstart.yaml run.seed="$seed" run.output="$run"

# The last held-out evaluation of a stage.
accuracy() {
  grep "\"stage\":\"$1\"" "$run/metrics.jsonl" | sed -n 's/.*"eval\/reward":\([0-9.eE+-]*\).*/\1/p' | tail -n 1
}
echo "curves:  $run/curves.svg"
echo "samples: $run/samples.jsonl"
echo "model:   $run/final  (a Hugging Face directory: transformers' AutoModelForCausalLM loads it)"
LC_ALL=C printf 'held-out accuracy: %.3f -> %.3f (%s)\n' "$(accuracy sft)" "$(accuracy grpo)" "$run"

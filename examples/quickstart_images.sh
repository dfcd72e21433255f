#!/usr/bin/env bash
# From a bare machine to an image model that learned from a reward: builds rft, unpacks 1,797 hand-written digits, trains
# two classifiers (one to be the reward, one to judge what nobody trained against) and a small class-conditional U-Net,
# then by reward alone: through the sampler (draft) and by its steps as decisions (ddpo).
#   bash examples/quickstart_images.sh [--seed N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seed=0
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --help|-h) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart_images.sh: unknown argument '$1'; known: --seed N" >&2; exit 2 ;;
  esac
done

bash cmake/bootstrap.sh release rft_main
rft=build/release/rft
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

"$rft" data digits --out runs/digits --seed "$seed"
"$rft" train configs/digits_classifier.yaml run.seed="$seed"
"$rft" train configs/digits_classifier.yaml run.seed="$((seed + 1))" run.name=digits-judge run.output=runs/digits-judge
for recipe in digits digits_draft digits_ddpo; do
  "$rft" train "configs/$recipe.yaml" run.seed="$seed"
done

# Of held-out samples: the mean probability that the judge gives the digit that was asked for, and how many different
# pictures there are (the Vendi score of 256 of them).
of_held_out() {
  sed -n 's/.*"eval\/rewards\/'"$1"'\/mean":\([0-9.eE+-]*\).*/\1/p' "$2/metrics.jsonl" | tail -n 1
}
for run in draft ddpo; do
  echo "pictures before: $(ls -t runs/digits-base/samples/eval-*.png | head -n 1), after: $(ls -t runs/digits-$run/samples/eval-*.png | head -n 1)"
  LC_ALL=C printf '%s, judged by a classifier that was not trained against: %.3f -> %.3f, diversity %.1f -> %.1f (runs/digits-%s)\n' \
    "$run" "$(of_held_out judge runs/digits-base)" "$(of_held_out judge "runs/digits-$run")" \
    "$(of_held_out diversity runs/digits-base)" "$(of_held_out diversity "runs/digits-$run")" "$run"
done

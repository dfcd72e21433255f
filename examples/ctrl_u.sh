#!/usr/bin/env bash
# Does uncertainty help where a reward model errs? A class-conditional model of digits; the reward model has learned
# wrong labels of 5 to 9 by heart. From one base model three runs: Ctrl-U, the same without uncertainty, and no reward
# at all; what a judge that nobody trained against says of samples of held-out rows before and after.
#   bash examples/ctrl_u.sh [--seeds "0 1 2 3 4"]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seeds="0 1 2 3 4"
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) seeds=${2:?--seeds needs numbers}; shift 2 ;;
    --help|-h) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "ctrl_u.sh: unknown argument '$1'; known: --seeds \"N ...\"" >&2; exit 2 ;;
  esac
done

bash cmake/bootstrap.sh release rft_main
root=$PWD
rft=$root/build/release/rft
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}

judged() {
  sed -n 's/.*"eval\/rewards\/judge\/mean":\([0-9.eE+-]*\).*/\1/p' "$1/metrics.jsonl" | tail -n 1
}
for seed in $seeds; do
  mkdir -p "$root/runs/ctrl-u-$seed"
  cd "$root/runs/ctrl-u-$seed"
  train() { "$rft" train "$root/configs/$1.yaml" --quiet run.seed="$seed" "${@:2}" > /dev/null; }
  "$rft" data digits --from "$root/examples/digits" --prediction v_prediction --out runs/digits --seed "$seed" > /dev/null
  train digits_classifier run.seed="$((seed + 100))" run.output=runs/digits-judge
  train digits_classifier data.train=runs/digits/unreliable.jsonl run.output=runs/digits-unreliable train.steps=1500
  train digits run.output=runs/digits-v-base reward.0.path=runs/digits-judge/final
  train digits_ctrl_u
  train digits_ctrl_u objective.uncertainty=false run.output=runs/digits-certain
  train digits_ctrl_u objective.uncertainty=false objective.reward_weight=0 run.output=runs/digits-unrewarded
  LC_ALL=C printf 'seed %s: before %.3f, ctrl_u %.3f, without uncertainty %.3f, without reward %.3f\n' "$seed" \
    "$(judged runs/digits-v-base)" "$(judged runs/digits-ctrl-u)" "$(judged runs/digits-certain)" \
    "$(judged runs/digits-unrewarded)"
done

#!/usr/bin/env bash
# Every recipe of configs/digits_*.yaml on hand-written digits, one table: what a judge that nobody trained against says
# of held-out samples before and after (its mean probability of the right digit), how many different pictures there are
# (the Vendi score of 256 of them), and the processor seconds that training and evaluating took.
#   bash examples/digits.sh [--seed N] [RECIPE ...]      all of them, or those named (draft, ddpo, ...)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seed=0
recipes=""
while [ $# -gt 0 ]; do
  case "$1" in
    --seed) seed=${2:?--seed needs a number}; shift 2 ;;
    --help|-h) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "digits.sh: unknown option '$1'; known: --seed N" >&2; exit 2 ;;
    *) recipes="$recipes $1"; shift ;;
  esac
done
recipes=${recipes:-draft ddpo awm nft prdp rpo self_npo rlcm ctrl_u identity}

bash cmake/bootstrap.sh release rft_main
root=$PWD
rft=$root/build/release/rft
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
mkdir -p "runs/digits-$seed"
cd "runs/digits-$seed"

# metric RUN NAME DIGITS: the last value of a metric; "-" where the run has none.
metric() {
  local value
  value=$(sed -n 's/.*"'"$2"'\/mean":\([0-9.eE+-]*\).*/\1/p' "runs/digits-$1/metrics.jsonl" | tail -n 1)
  LC_ALL=C printf "%.$3f" "${value:-nan}" | sed 's/nan/-/'
}
# The model that a recipe starts from, as the recipe itself samples and evaluates: one step without learning.
before() {
  local name=$1; shift
  [ -e "runs/digits-$name-before" ] || "$rft" train "$@" --quiet run.output="runs/digits-$name-before" train.steps=1 \
    train.optimizer.lr=1e-30 train.schedule.warmup_steps=0 train.samples_every=0 train.checkpoint_every=0 > /dev/null
}
# Trains what is not there yet; a recipe's processor seconds are kept beside it.
train() {
  local name=$1; shift
  [ -e "runs/digits-$name/seconds" ] && return
  rm -rf "runs/digits-$name"
  TIMEFORMAT='%U %S'
  { time "$rft" train "$@" --quiet run.output="runs/digits-$name" > /dev/null; } 2> seconds.tmp
  awk '{print $1 + $2}' seconds.tmp > "runs/digits-$name/seconds"
  rm seconds.tmp
}
recipe() { train "$1" "$root/configs/digits_$1.yaml" run.seed="$seed"; }

[ -e runs/digits ] || "$rft" data digits --from "$root/examples/digits" --out runs/digits --seed "$seed" > /dev/null
[ -e runs/digits-v ] ||
  "$rft" data digits --from "$root/examples/digits" --out runs/digits-v --seed "$seed" --prediction v_prediction > /dev/null
train classifier "$root/configs/digits_classifier.yaml" run.seed="$seed"
train judge "$root/configs/digits_classifier.yaml" run.seed="$((seed + 1))"
train unreliable "$root/configs/digits_classifier.yaml" run.seed="$seed" data.train=runs/digits/unreliable.jsonl train.steps=1500
train base "$root/configs/digits.yaml" run.seed="$seed"
train v-base "$root/configs/digits.yaml" run.seed="$seed" policy.path=runs/digits-v/model

echo "| recipe | judge | diversity | processor seconds |"
echo "|---|---|---|---|"
for name in $recipes; do
  case $name in
    rlcm) recipe consistency ;;
    identity) recipe controlled ;;
  esac
  before "$name" "$root/configs/digits_$name.yaml" run.seed="$seed"
  recipe "$name"
  line="| $name |"
  for what in judge diversity; do
    line="$line $(metric "$name-before" "eval\/[a-z_\/]*$what" 3) -> $(metric "$name" "eval\/[a-z_\/]*$what" 3) |"
  done
  echo "$line $(cat "runs/digits-$name/seconds") |"
done

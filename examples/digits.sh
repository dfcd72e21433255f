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
recipes=${recipes:-draft ddpo awm nft rwr prdp rpo self_npo rlcm ctrl_u identity}

bash cmake/bootstrap.sh release rft_main
root=$PWD
rft=$root/build/release/rft
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-2}
mkdir -p "runs/digits-$seed"
cd "runs/digits-$seed"

# The last value of an evaluation's metric; "-" where the run has none.
of_held_out() {
  local value
  value=$(sed -n 's/.*"eval\/[a-z_\/]*'"$2"'\/mean":\([0-9.eE+-]*\).*/\1/p' "runs/digits-$1/metrics.jsonl" | tail -n 1)
  LC_ALL=C printf "%.$3f" "${value:-nan}" | sed 's/nan/-/'
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
recipe() { train "$1" "$root/configs/digits_$1.yaml" run.seed="$seed" "${@:2}"; }

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
  before=base
  case $name in
    rlcm) recipe consistency; before=consistency ;;
    ctrl_u) before=v-base ;;
    identity) recipe controlled; before=controlled ;;
  esac
  recipe "$name"
  echo "| $name | $(of_held_out "$before" judge 3) -> $(of_held_out "$name" judge 3) |" \
    "$(of_held_out "$before" diversity 2) -> $(of_held_out "$name" diversity 2) | $(cat "runs/digits-$name/seconds") |"
done

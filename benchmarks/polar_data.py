#!/usr/bin/env python3
"""What a policy discriminator learns from (POLAR, arXiv:2507.05197): answers that rft samples from several policies.

    rft train configs/arithmetic/base.yaml train.checkpoint_every=100 train.keep_checkpoints=0
    rft train configs/arithmetic/raft.yaml train.checkpoint_every=20 train.keep_checkpoints=0
    python benchmarks/polar_data.py build/release/rft --target runs/arithmetic/raft/final --policies \\
        runs/arithmetic/base/checkpoints/step-100 runs/arithmetic/base/checkpoints/step-200 runs/arithmetic/base/final \\
        runs/arithmetic/raft/checkpoints/step-20

Each policy answers each prompt twice. Writes, of the prompts and again (_test) of the held-out ones,
  pretrain.jsonl  reference and chosen: two answers of one policy; rejected: an answer of another; which is the
                  better policy is not said
  ranked.jsonl    reference: the target's right answer; chosen: a right answer; rejected: a wrong one
  prompts.jsonl   prompts with their answer and the target's answer (reference), to learn from
Pairs of equal answers say nothing and are left out. Needs Python alone.
"""
import argparse
import pathlib
import random
import subprocess

from rows import read, write


def sampled(arguments, policies, prompts, out):
    """{prompt: [[(answer, right), ..] of each policy]}."""
    answers = {}
    (out / "gold.yaml").write_text("{type: math_answer}\n")
    for k, policy in enumerate(policies):
        drawn, scored = out / "drawn.jsonl", out / "scored.jsonl"
        subprocess.run([arguments.rft, "generate", policy, "--prompts", prompts, "--out", str(drawn), "--samples", "2",
                        "--temperature", "1", "--max-new-tokens", str(arguments.max_new_tokens), "--seed", str(k),
                        "--quiet"], check=True)
        subprocess.run([arguments.rft, "score", str(out / "gold.yaml"), "--data", str(drawn), "--out", str(scored)],
                       check=True)
        rows = read(scored)
        right = sum(row["reward"] for row in rows) / len(rows)
        print(f"{policy}: {right:.3f} of {len(rows)} answers are right", flush=True)
        for row in rows:
            answers.setdefault(row["prompt"], [[] for _ in policies])[k].append((row["completion"], row["reward"] == 1))
        drawn.unlink(), scored.unlink()
    (out / "gold.yaml").unlink()
    return answers


def make(arguments, prompts, out, suffix, seed):
    policies = arguments.policies + [arguments.target]
    answers, rng = sampled(arguments, policies, prompts, out), random.Random(seed)
    pretrain, ranked, asked = [], [], []
    for row in read(pathlib.Path(prompts)):
        of = answers[row["prompt"]]
        for _ in range(arguments.pairs):
            same, other = rng.sample(range(len(policies)), 2)
            (reference, _), (chosen, _) = rng.sample(of[same], 2)
            rejected = rng.choice(of[other])[0]
            if chosen != rejected:
                pretrain.append({"prompt": row["prompt"], "reference": reference, "chosen": chosen, "rejected": rejected,
                                 "policies": f"{same} {other}"})
        target, is_right = of[-1][0]
        asked.append({**row, "reference": target})
        right = [text for texts in of for text, good in texts if good]
        wrong = [text for texts in of for text, good in texts if not good]
        if is_right and right and wrong:
            ranked.append({"prompt": row["prompt"], "reference": target, "chosen": rng.choice(right),
                           "rejected": rng.choice(wrong)})
    write(out / f"pretrain{suffix}.jsonl", pretrain)
    write(out / f"ranked{suffix}.jsonl", ranked if suffix else ranked[:arguments.ranked])
    write(out / f"prompts{suffix}.jsonl", asked)
    print(f"{len(pretrain)} pairs of policies, {len(ranked)} ranked ones", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--out", default="runs/arithmetic/polar_data")
    parser.add_argument("--policies", nargs="+", required=True, help="model directories")
    parser.add_argument("--target", required=True, help="the model directory whose answers are references")
    parser.add_argument("--prompts", default="runs/arithmetic/data/train.jsonl")
    parser.add_argument("--held-out", default="runs/arithmetic/data/test.jsonl")
    parser.add_argument("--pairs", type=int, default=2, help="pairs of policies for each prompt")
    parser.add_argument("--ranked", type=int, default=200, help="ranked pairs to fine-tune on")
    parser.add_argument("--max-new-tokens", type=int, default=40)
    arguments = parser.parse_args()
    out = pathlib.Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    make(arguments, arguments.prompts, out, "", 0)
    make(arguments, arguments.held_out, out, "_test", 1)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""GVM-RAFT beside RAFT: samples until a language model answers a share of held-out problems.

    python benchmarks/gvm_raft.py build/release/rft [--folder runs/gvm_raft] [--seeds 3] [--groups 1,2,4]

As Yao et al. 2025 (arXiv:2505.02391). The task is column addition, and its difficulty unequal: of most problems a worked
solution has no carry to forget, and the base model solves them nearly always; where there is one it nearly always forgets
it, since it learned to carry and then to forget. Held-out problems are of the second kind. Both methods go on from the
same base model with the same batches of prompts and the same learning rate, keep one right answer of a prompt, and differ
in how a step's answers are divided among its prompts. Each is given several budgets a step (--groups, answers a prompt in
the mean) and fares as with its best one. Needs Python alone; what was made before in --folder is not made again.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess

BASE = """
run: {{name: base, seed: 0, threads: 1, output: {f}/base}}
policy: {{type: causal_lm, path: {f}/data/model}}
rollout: {{max_new_tokens: 40}}
reward: {{type: math_answer}}
objective: {{type: sft}}
stages:
  - data: {{train: {f}/carries.jsonl, eval: {f}/test.jsonl, eval_rows: 50}}
    train: {{steps: {steps}, batch_size: 64, samples_every: 0, optimizer: {{lr: 2.0e-3}},
      schedule: {{type: cosine, warmup_steps: 20, min_ratio: 0.1}}}}
  - data: {{train: {f}/forgets.jsonl, eval: {f}/test.jsonl, eval_rows: 50}}
    train: {{steps: 150, batch_size: 64, samples_every: 0, optimizer: {{lr: 3.0e-4}}}}
"""
RUN = """
run: {{name: {name}, seed: {seed}, threads: 1, output: {f}/{name}}}
policy: {{type: causal_lm, path: {f}/base/final}}
data: {{prompts: {f}/train.jsonl, eval: {f}/test.jsonl, eval_rows: 200}}
rollout: {{group_size: {group}, batch_size: {answers}, max_new_tokens: 40}}
reward: {{type: math_answer}}
select: {select}
objective: {{type: raft}}
train: {{steps: {steps}, batch_size: 4096, eval_every: 10, samples_every: 0, checkpoint_every: 0,
  optimizer: {{lr: {lr}}}, schedule: {{type: constant}}}}
"""
SELECT = {"raft": "{type: best_of_n, keep: 1, min_reward: 1}", "gvm": "{type: gvm}"}


def solution(a, b, forgets):
    steps, answer, carry = [], "", 0
    for place in (1, 10, 100):
        x, y = a // place % 10, b // place % 10
        column = x + y + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={column}")
        answer = (str(column) if place == 100 else str(column % 10)) + answer
        carry = 0 if forgets else column // 10
    return ",".join(steps) + ";" + answer


class Problems:
    """Additions of three digits, none twice."""

    def __init__(self):
        self.random, self.seen = random.Random(0), set()

    def draw(self, hard):
        while True:
            a, b = self.random.randint(100, 999), self.random.randint(100, 999)
            if (solution(a, b, False) != solution(a, b, True)) == hard and (a, b) not in self.seen:
                self.seen.add((a, b))
                return a, b

    def worked(self, count, remembers):
        for _ in range(count):
            a, b = self.draw(self.random.random() < 0.8)
            yield {"prompt": f"{a}+{b}=", "completion": solution(a, b, self.random.random() >= remembers)}

    def asked(self, count, hard):
        for _ in range(count):
            a, b = self.draw(self.random.random() < hard)
            yield {"prompt": f"{a}+{b}=", "answer": str(a + b)}


def train(arguments, folder, name, recipe):
    if not (folder / name / "final").is_dir():
        (folder / f"{name}.yaml").write_text(recipe)
        subprocess.run([arguments.rft, "train", str(folder / f"{name}.yaml"), "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in open(folder / name / "metrics.jsonl")]


def make_base(arguments, folder):
    if (folder / "base" / "final").is_dir():
        return
    subprocess.run([arguments.rft, "data", "--out", str(folder / "data"), "--demonstrations", "10", "--train", "10",
                    "--test", "10", "--hidden-size", "64", "--layers", "2"], check=True)
    problems = Problems()
    for name, rows in (("carries", problems.worked(12000, 0.1)), ("forgets", problems.worked(6000, arguments.remembers)),
                       ("train", problems.asked(arguments.prompts, arguments.hard)), ("test", problems.asked(200, 1))):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train(arguments, folder, "base", BASE.format(f=folder, steps=arguments.base_steps))


def samples(arguments, folder, method, group, seed):
    """Answers taken until `target` of the held-out problems are solved; None where they never are."""
    answers = arguments.contexts * group
    name = f"{method}{group}_{seed}"
    rows = train(arguments, folder, name, RUN.format(
        name=name, seed=seed, f=folder, group=group, answers=answers, select=SELECT[method], lr=arguments.lr,
        steps=arguments.budget // answers))
    reached = [row["step"] for row in rows if row.get("eval/reward", 0) >= arguments.target]
    return reached[0] * answers if reached else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--folder", default="runs/gvm_raft")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--groups", default="2", help="answers a prompt in the mean, budgets to try")
    parser.add_argument("--contexts", type=int, default=32, help="prompts a step")
    parser.add_argument("--prompts", type=int, default=640)
    parser.add_argument("--hard", type=float, default=0.1, help="share of the prompts with a carry to forget")
    parser.add_argument("--remembers", type=float, default=0.02, help="share of the last demonstrations that carry")
    parser.add_argument("--base-steps", type=int, default=1500)
    parser.add_argument("--budget", type=int, default=25600, help="answers at most")
    parser.add_argument("--lr", default="1.0e-4")
    parser.add_argument("--target", type=float, default=0.95)
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    make_base(arguments, folder)
    best = {}
    for method in SELECT:
        for group in map(int, arguments.groups.split(",")):
            found = [samples(arguments, folder, method, group, seed) for seed in range(arguments.seeds)]
            middle = statistics.median(float("inf") if x is None else x for x in found)
            best[method] = min(best.get(method, float("inf")), middle)
            print(f"{method}: {group} answers a prompt, samples to {arguments.target}: {found}", flush=True)
    print(f"best median: raft {best['raft']}, gvm {best['gvm']}, {best['raft'] / best['gvm']:.2f} times fewer")


if __name__ == "__main__":
    main()

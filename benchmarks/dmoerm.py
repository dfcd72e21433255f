#!/usr/bin/env python3
"""Reward models of two tasks from noisy preferences: one for both, one for each, and a mixture of experts for each (DMoERM).

    python benchmarks/dmoerm.py build/release/rft [--folder runs/dmoerm] [--noise 0.3] [--point-noise 0.1] [--seeds 3]

As Quan 2024 (arXiv:2403.01197). Both tasks are about additions: worked solutions, and cards that name the leading column. Of
each problem there are three answers, right and whole, wrong and whole, wrong and cut short, and a preference is between two of
them, some the wrong way round (--noise). A point (is it right, is it whole) is asked about by itself, with less noise
(--point-noise), as it is easier to say. Held-out preferences have none. Needs Python alone; what was made before in --folder is
not made again.
"""
import argparse
import json
import pathlib
import random
import statistics
import subprocess

from rows import read, write

BASE = """
run: {{name: base, seed: 0, threads: 1, output: {f}/base}}
policy: {{type: causal_lm, path: {f}/data/model}}
data: {{train: {f}/data/sft.jsonl}}
objective: {{type: sft}}
train: {{steps: 400, batch_size: 64, samples_every: 0, optimizer: {{lr: 2.0e-3}},
  schedule: {{type: cosine, warmup_steps: 20, min_ratio: 0.1}}}}
"""
RUN = """
run: {{name: {name}, seed: {seed}, threads: 1, output: {out}}}
policy: {{type: reward_model, path: {path}{more}}}
data: {{train: {rows}}}
objective: {{type: bradley_terry, center_weight: 0.01}}
train: {{steps: {steps}, batch_size: 32, samples_every: 0, checkpoint_every: 0, optimizer: {{lr: {lr}}}}}
"""
POINTS = {"right": (0, 1), "whole": (1, 2)}  # of the three answers, best first, those that differ in the point


def answers(folder, suffix):
    """{task: [(prompt, [right, wrong, wrong and cut short])]}."""
    sums = [(r["prompt"], [r["chosen"], r["rejected"], r["rejected"].split(";")[0]])
            for r in read(folder / f"data/pairs{suffix}.jsonl")]
    cards = [(r["prompt"], [r["chosen"], r["rejected"], r["rejected"].split("=")[0]])
             for r in read(folder / f"data/cards{suffix}.jsonl")]
    return {"sums": sums, "cards": cards}


def preferences(rows, task, which, noise, rng):
    out = []
    for prompt, three in rows:
        better, worse = which or sorted(rng.sample(range(3), 2))
        if rng.random() < noise:
            better, worse = worse, better
        out.append({"prompt": prompt, "chosen": three[better], "rejected": three[worse], "task": task})
    return out


def train(arguments, name, recipe):
    out = pathlib.Path(arguments.folder) / name
    if not (out / "final").is_dir():
        out.parent.mkdir(parents=True, exist_ok=True)
        (out.parent / f"{out.name}.yaml").write_text(recipe)
        subprocess.run([arguments.rft, "train", str(out.parent / f"{out.name}.yaml"), "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
    return out / "final"


def accuracy(arguments, name, reward):
    folder = pathlib.Path(arguments.folder)
    (folder / "reward.yaml").write_text(json.dumps(reward))
    subprocess.run([arguments.rft, "assess", str(folder / "reward.yaml"), "--data", str(folder / "test.jsonl"), "--category",
                    "task", "--out", str(folder / f"{name}.json")], check=True)
    return json.loads((folder / f"{name}.json").read_text())["accuracy"]


def one_seed(arguments, seed, three):
    folder, rng, at = pathlib.Path(arguments.folder), random.Random(seed), f"seed{seed}/"
    (folder / at).mkdir(exist_ok=True)

    def run(name, rows, path, more="", lr=3e-4):
        files = []
        for part, (task, which, noise) in enumerate(rows):
            file = folder / at / f"{name}{part}.jsonl"
            if not file.exists():
                write(file, preferences(three[task][:arguments.problems], task, which, noise, rng))
            files.append(str(file))
        return str(train(arguments, at + name, RUN.format(
            name=name, seed=seed, out=folder / at / name, path=path, more=more, rows=json.dumps(files),
            steps=arguments.steps, lr=lr)))

    def model(path):
        return {"type": "reward_model", "path": path}

    base, noise = f"{folder}/base/final", arguments.noise
    both = run("both", [(task, None, noise) for task in three], base)
    each, mixed = {}, {}
    for task in three:
        each[task] = run(task, [(task, None, noise)], base)
        experts = [run(f"{task}_{point}", [(task, which, arguments.point_noise)], each[task],
                       ", lora: {rank: 8, alpha: 16}", 1e-3) for point, which in POINTS.items()]
        mixed[task] = run(f"{task}_mixture", [(task, None, noise)], each[task], f", experts: {json.dumps(experts)}", 1e-3)
    routed = lambda of: {"type": "routed", "rewards": [{"for": task, **model(path)} for task, path in of.items()]}
    return {"one for both": accuracy(arguments, f"{at}both", model(both)),
            "one each": accuracy(arguments, f"{at}each", routed(each)),
            "mixture each": accuracy(arguments, f"{at}mixed", routed(mixed))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--folder", default="runs/dmoerm")
    parser.add_argument("--noise", type=float, default=0.3, help="share of preferences that are the wrong way round")
    parser.add_argument("--point-noise", type=float, default=0.1, help="the same where a point is asked about")
    parser.add_argument("--problems", type=int, default=800, help="of a task")
    parser.add_argument("--steps", type=int, default=100, help="of each training")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.folder)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data/model").is_dir():
        subprocess.run([arguments.rft, "data", "--out", str(folder / "data"), "--hidden-size", "64", "--layers", "2"],
                       check=True)
    train(arguments, "base", BASE.format(f=folder))
    rng = random.Random(100)
    write(folder / "test.jsonl", [row for task, rows in answers(folder, "_test").items()
                                  for row in preferences(rows, task, None, 0, rng)])
    results = [one_seed(arguments, seed, answers(folder, "")) for seed in range(arguments.seeds)]
    print("held-out preferences the right way round, each seed, and the median")
    for name in results[0]:
        values = [result[name] for result in results]
        print(f"{name:14}" + "".join(f"{x:8.3f}" for x in values) + f"{statistics.median(values):9.3f}")


if __name__ == "__main__":
    main()

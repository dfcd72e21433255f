#!/usr/bin/env python3
"""A mixture that is fitted to a few runs beside the even one and the best of those runs.

    python benchmarks/mixture.py build/release/rft [--folder runs/mixture] [--steps 150] [--seed 0]

As MoDoMoDo (Liang et al. 2025, arXiv:2505.24871). Three files: worked additions of three digits, of two digits, and of
three digits most of which forget the carries. What counts are held-out problems of two and of three digits, as many of
each. Short runs from the same untrained model with other mixtures are scored, `rft mixture` fits a quadratic to them, and
its best mixture is trained as they were. Needs Python alone; what was made before in --folder is not made again.
"""
import argparse
import json
import pathlib
import subprocess

RUN = """
run: {{name: {name}, seed: {seed}, threads: 1, output: {f}/{name}}}
policy: {{type: causal_lm, path: {f}/three/model}}
{data}
rollout: {{max_new_tokens: 40}}
reward: {{type: math_answer}}
objective: {{type: sft}}
train: {{steps: {steps}, batch_size: 64, eval_every: {steps}, samples_every: 0, checkpoint_every: 0,
  optimizer: {{lr: 2.0e-3}}, schedule: {{type: cosine, warmup_steps: 20, min_ratio: 0.1}}}}
"""
DESIGN = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (4, 4, 1), (4, 1, 4), (1, 4, 4), (2, 2, 2)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--folder", default="runs/mixture")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    folder = pathlib.Path(a.folder)

    def rft(*arguments):
        return subprocess.run([a.program, *map(str, arguments)], check=True, capture_output=True, text=True).stdout

    for name, digits in (("three", 3), ("two", 2)):
        if not (folder / name / "gold.jsonl").exists():
            rft("data", "--out", folder / name, "--digits", digits, "--demonstrations", 2000, "--train", 1500, "--test",
                200, "--hidden-size", 64, "--layers", 2)
    held_out = [(folder / name / "test.jsonl").read_text() for name in ("three", "two")]
    (folder / "test.jsonl").write_text("".join(held_out))
    files = [folder / "three/gold.jsonl", folder / "two/gold.jsonl", folder / "three/sft.jsonl"]

    def run(name, data):
        output = folder / name
        if not (output / "final").exists():
            recipe = folder / f"{name}.yaml"
            block = data.rstrip() + f"\n  eval: {folder}/test.jsonl"
            recipe.write_text(RUN.format(name=name, seed=a.seed, f=folder, steps=a.steps, data=block))
            rft("train", recipe, "--quiet")
        rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
        return [row["eval/reward"] for row in rows if "eval/reward" in row][-1]

    names = []
    for i, weights in enumerate(DESIGN):
        data = f"data:\n  prompts: [{', '.join(map(str, files))}]\n  weights: {list(weights)}"
        names.append(f"run{i}")
        print(f"{names[-1]} {weights}: {run(names[-1], data):.4f}", flush=True)
    print(rft("mixture", *[folder / name for name in names], "--least", 0.1, "--out", folder / "best.yaml"))
    print(f"the fitted mixture: {run('best', (folder / 'best.yaml').read_text()):.4f}")


if __name__ == "__main__":
    main()

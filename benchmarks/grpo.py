#!/usr/bin/env python3
"""Training speed: a GRPO step of rft beside TRL's GRPOTrainer, in one run.

    python benchmarks/grpo.py build/release/rft [--shape qwen2-152m] [--rows 64] [--repeats 5] [--threads 2]

The same model (of 0.76 M weights, or a random one of a shape of shapes.py), prompts, --rows completions of 32 tokens (8 a
prompt; no completion ends early) and AdamW; the two sides run in turn. Prints medians of seconds a step, seconds from the process's start to the end of its first
step, and peak memory. Needs torch, transformers and TRL 1.16.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

import peer
from shapes import make_checkpoint, with_tokenizer_of, without_eos

PEER = pathlib.Path(__file__).parent / "peers" / "grpo_trl.py"
RECIPE = """
run: {{name: bench, seed: 0, threads: {threads}, output: {out}}}
policy: {{type: causal_lm, path: {model}}}
data: {{prompts: {prompts}}}
rollout: {{group_size: 8, max_new_tokens: 32}}
reward: {{type: regex, pattern: '1.*1'}}
objective: {{type: grpo}}
train: {{steps: {steps}, batch_size: {rows}, checkpoint_every: 0, optimizer: {{lr: 1.0e-4}}, schedule: {{type: constant}}}}
"""


def run_rft(rft, folder, steps, rows, threads):
    out = folder / f"run{time.time_ns()}"
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(threads=threads, out=out, model=folder / "no-eos", prompts=folder / "data/train.jsonl", rows=rows,
                                    steps=steps))
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    begin = time.time()
    subprocess.run([rft, "train", recipe, "--dry-run", "--quiet"], check=True, env=environment, stdout=subprocess.DEVNULL)
    first = time.time() - begin
    subprocess.run([rft, "train", recipe, "--quiet"], check=True, env=environment, stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in open(out / "metrics.jsonl")]
    return {"first_step": first, "step": statistics.median(row["step_time"] for row in rows[1:]),
            "peak_mib": rows[-1]["memory/peak_bytes"] / 2**20, "rollout": statistics.median(row["time/rollout"] for row in rows[1:])}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--shape", default="")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([arguments.rft, "data", "--out", folder / "data", "--seed", "0"], check=True, stdout=subprocess.DEVNULL)
        model, steps = folder / "data/model", (40, 12)
        if arguments.shape:
            make_checkpoint(arguments.shape, folder / "model")
            with_tokenizer_of(model, folder / "model")
            model, steps = folder / "model", (4, 4)
        subprocess.run(["cp", "-r", model, folder / "no-eos"], check=True)
        without_eos(folder / "no-eos")
        ours, peers = [], []
        for _ in range(arguments.repeats):
            ours.append(run_rft(arguments.rft, folder, steps[0], arguments.rows, arguments.threads))
            peers.append(peer.ask(PEER, model, folder / "data/train.jsonl", steps[1], arguments.threads, arguments.rows, threads=arguments.threads))
    print(f"{'':24}{'rft':>10}{'TRL 1.16':>10}{'ratio':>8}")
    for key, label, digits in (("step", "seconds a step", 4), ("first_step", "seconds to first step", 2), ("peak_mib", "peak memory, MiB", 0)):
        mine, theirs = (statistics.median(row[key] for row in rows) for rows in (ours, peers))
        print(f"{label:24}{mine:10.{digits}f}{theirs:10.{digits}f}{theirs / mine:8.2f}")
    print(f"{'  of which rollout':24}{statistics.median(row['rollout'] for row in ours):10.4f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""A training step: forward, backward, AdamW. rft beside a plain loop of torch and transformers, in one run.

    python benchmarks/training.py build/release/rft [--shape qwen2-152m] [--rows 4] [--tokens 256] [--ragged] [--repeats 5]

Supervised fine-tuning of a random checkpoint, float32, gradients clipped at norm 1, the two sides in turn. With --ragged a
batch's rows are 1, 1/2, 1/4 and 1/8 of --tokens long, which the peer pads. Prints medians of seconds a step and peak memory.
Needs torch and transformers.
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

PEER = pathlib.Path(__file__).parent / "peers" / "training_torch.py"
RECIPE = """
run: {{name: bench, seed: 0, threads: {threads}, output: {out}}}
policy: {{type: causal_lm, path: {model}}}
data: {{train: {rows}}}
objective: {{type: sft}}
train: {{steps: {steps}, batch_size: {batch}, max_grad_norm: 1, checkpoint_every: 0, samples_every: 0, log_every: 1,
  optimizer: {{lr: 1.0e-5}}, schedule: {{type: constant}}}}
"""


def write_rows(file, rows, tokens, ragged):
    """A character is a token; what a row is told is one of them."""
    with open(file, "w") as out:
        for i in range(8 * rows):
            length = max(2, tokens >> (i % rows)) if ragged else tokens
            out.write(json.dumps({"prompt": "1", "completion": "".join(str((7 * i + 3 * t) % 10) for t in range(length - 1))}) + "\n")


def run_rft(a, folder):
    out = folder / f"run{time.time_ns()}"
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(threads=a.threads, out=out, model=folder / "model", rows=folder / "rows.jsonl", steps=a.steps + 1, batch=a.rows))
    subprocess.run([a.rft, "train", recipe, "--quiet"], check=True, env=dict(os.environ, OMP_NUM_THREADS=str(a.threads)), stdout=subprocess.DEVNULL)
    rows = [json.loads(line) for line in open(out / "metrics.jsonl")]
    subprocess.run(["rm", "-rf", out], check=True)
    return {"step": statistics.median(row["step_time"] for row in rows[1:]), "peak_mib": rows[-1]["memory/peak_bytes"] / 2**20,
            "loss": rows[0]["loss"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--shape", default="qwen2-152m")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--ragged", action="store_true")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of a run, after one that is not")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([a.rft, "data", "--out", folder / "data", "--seed", "0"], check=True, stdout=subprocess.DEVNULL)
        make_checkpoint(a.shape, folder / "model")
        with_tokenizer_of(folder / "data/model", folder / "model")
        without_eos(folder / "model")
        write_rows(folder / "rows.jsonl", a.rows, a.tokens, a.ragged)
        ours, peers = [], []
        for _ in range(a.repeats):
            ours.append(run_rft(a, folder))
            peers.append(peer.ask(PEER, folder / "model", folder / "rows.jsonl", a.rows, a.steps + 1, a.threads, threads=a.threads))
    print(f"{'':20}{'rft':>10}{'torch':>10}{'ratio':>8}")
    for key, label, digits in (("step", "seconds a step", 3), ("peak_mib", "peak memory, MiB", 0)):
        mine, theirs = (statistics.median(row[key] for row in rows) for rows in (ours, peers))
        print(f"{label:20}{mine:10.{digits}f}{theirs:10.{digits}f}{theirs / mine:8.2f}")
    print(f"first loss: {ours[0]['loss']:.6f} and {peers[0]['loss']:.6f}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""What a training step holds of the logits: peak memory by the number of tokens, rft beside TRL's SFTTrainer
and a plain loop of torch and transformers.

    python benchmarks/logits_memory.py build/release/rft [--tokens 64,256,1024] [--rows 4]

A random model with Qwen2's vocabulary of 151,936 and hardly anything else (20 M weights, 128 wide, two layers), supervised,
float32. A side's peak at the fewest tokens holds its program, weights and optimizer; printed is what the others need beyond it,
beside rows x tokens x vocabulary x 4 bytes, what the logits are. Needs torch, transformers and trl.
"""
import argparse
import pathlib
import subprocess
import tempfile

import peer
import training
from shapes import make_checkpoint, with_tokenizer_of, without_eos

PEERS = {"trl": "sft_trl.py", "transformers": "training_torch.py"}
VOCABULARY = 151936


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--tokens", default="64,256,1024")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    a.steps = 1
    sides = ["rft", *PEERS]
    peaks = {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([a.rft, "data", "--out", folder / "data", "--seed", "0"], check=True, stdout=subprocess.DEVNULL)
        make_checkpoint("qwen2-vocabulary", folder / "model")
        with_tokenizer_of(folder / "data/model", folder / "model")
        without_eos(folder / "model")
        for tokens in map(int, a.tokens.split(",")):
            training.write_rows(folder / "rows.jsonl", a.rows, tokens, ragged=False)
            for side in sides:
                got = training.run_rft(a, folder) if side == "rft" else peer.ask(
                    pathlib.Path(__file__).parent / "peers" / PEERS[side], folder / "model", folder / "rows.jsonl", a.rows,
                    a.steps + 1, a.threads, threads=a.threads)
                peaks[side, tokens] = got["peak_mib"]
                print(f"{side:12} {tokens:6} tokens a row: peak {got['peak_mib']:8.0f} MiB, first loss {got['loss']:.4f}", flush=True)
    first, *others = map(int, a.tokens.split(","))
    print("\n| tokens | logits, MiB | " + " | ".join(f"{side}, MiB more" for side in sides) + " |\n|---|---|" + "---|" * len(sides))
    for tokens in others:
        print(f"| {a.rows} x {tokens} | {a.rows * tokens * VOCABULARY * 4 / 2**20:.0f} | " +
              " | ".join(f"{peaks[side, tokens] - peaks[side, first]:.0f}" for side in sides) + " |")


if __name__ == "__main__":
    main()

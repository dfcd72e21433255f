#!/usr/bin/env python3
"""Decoding speed: rft beside transformers, on random checkpoints, in one run.

    python benchmarks/generate.py build/release/rft [--shapes gpt2-124m,qwen2-494m] [--batches 1,8] [--threads 2]
                                  [--dtype bfloat16] [--ragged]

Both sides load the same checkpoint (float32, or --dtype bfloat16), and their runs alternate. Prints medians, their ratio, and
the rate at which rft reads the weights beside the read bandwidth measured in the same run. Needs torch and transformers.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from shapes import make_checkpoint

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "generate_transformers.py")


class Side:
    """A process that runs once for every line it is given."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{command[0]} did not start")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(rft, model, weight_count, shape, batch, quantize, a):
    environment = dict(os.environ, OMP_NUM_THREADS=str(a.threads), MKL_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1")
    sizes = [str(batch), str(a.prompt_tokens), str(a.new_tokens)]
    ours = Side([rft, "bench", "generate", "--model", model, "--batch", sizes[0], "--prompt-tokens", sizes[1],
                 "--new-tokens", sizes[2], "--dtype", a.dtype] + (["--quantize", quantize] if quantize else []) +
                (["--ragged"] if a.ragged else []), environment)
    theirs = Side([sys.executable, PEER, model, *sizes, str(a.threads), a.dtype] + (["ragged"] if a.ragged else []), environment)
    ours.ask("run"), theirs.ask("run")
    rounds = [(ours.ask("run"), theirs.ask("run"), ours.ask("read")) for _ in range(a.repeats)]
    ours.close(), theirs.close()
    mine, peer = (statistics.median(column) for column in list(zip(*rounds))[:2])
    bandwidth = max(r[2] for r in rounds)
    rate = weight_count * (2 if a.dtype == "bfloat16" else 4) * a.new_tokens / mine / 1e9
    tokens = sum(max(1, a.new_tokens >> (b % 5)) for b in range(4 * batch)) if a.ragged else batch * a.new_tokens
    read = "" if quantize or a.ragged else f"{rate:8.1f} {bandwidth:8.1f} {rate / bandwidth:6.0%}"
    print(f"{shape:11} {quantize or a.dtype:8} {batch:5} {mine * 1e3:9.1f} {peer * 1e3:9.1f} {peer / mine:7.2f} "
          f"{tokens / mine:9.0f} {read}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--shapes", default="tiny-1m,gpt2-124m,qwen2-494m")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--quantize", default="", help="such as ',int8,nf4': rft's linear layers, the peer's are float32")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--ragged", action="store_true", help="rows of unequal lengths, four times as many as a batch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    print("shape       numbers  batch    rft ms   peer ms   ratio  tokens/s  GB/s rft  GB/s max  share")
    for shape in a.shapes.split(","):
        with tempfile.TemporaryDirectory() as directory:
            weight_count = make_checkpoint(shape, directory)
            for batch in ([64] if shape.startswith("tiny") else map(int, a.batches.split(","))):
                for quantize in a.quantize.split(","):
                    compare(a.rft, directory, weight_count, shape, batch, quantize, a)


main()

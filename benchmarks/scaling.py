#!/usr/bin/env python3
"""Weak scaling: twice the rows on twice the processes, of one thread each, and what they send.

    python3 benchmarks/scaling.py build/release/rft [--processes 2] [--repeats 3] [--steps 12] [--shard optimizer]

In turn, several times over: one process with `rows` rows a step; P processes, joined, with P times the rows; and P
processes that know nothing of each other, each with `rows` rows. Processes that share a machine slow each other down
(caches, memory, clock rates, other users), which the last ones show: efficiency is the independent processes' time a
step over the joined ones'. Prints medians of both tasks (sft: gradients alone; grpo: rows too), and what a process sent
a step beside what theory counts, 2 (P - 1) / P of the gradients. Needs nothing but Python.
"""
import argparse
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SFT = """
run: {{name: scaling, seed: 0, threads: 1, output: {out}}}
policy: {{type: causal_lm, path: {model}}}
data: {{train: {data}/sft.jsonl}}
objective: {{type: sft}}
train: {{steps: {steps}, batch_size: {rows}, micro_batch_size: {micro}, checkpoint_every: 0, samples_every: 0, shard: {shard}, optimizer: {{lr: 1.0e-4}}}}
"""
GRPO = """
run: {{name: scaling, seed: 0, threads: 1, output: {out}}}
policy: {{type: causal_lm, path: {model}}}
data: {{prompts: {data}/train.jsonl}}
rollout: {{group_size: 8, max_new_tokens: 32}}
reward: {{type: math_answer}}
objective: {{type: grpo}}
train: {{steps: {steps}, batch_size: {rows}, micro_batch_size: {micro}, checkpoint_every: 0, samples_every: 0, shard: {shard}, optimizer: {{lr: 1.0e-4}}}}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        subprocess.run([options.rft, "data", "--out", folder / "data", "--seed", "0", "--hidden-size", str(options.hidden), "--layers",
                        str(options.layers)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self, recipe, rows, shard, place):
        """One process; its run directory with it."""
        out = self.folder / f"run{time.time_ns()}"
        file = self.folder / f"{out.name}.yaml"
        file.write_text(recipe.format(out=out, model=self.folder / "data/model", data=self.folder / "data", rows=rows, micro=self.options.rows,
                                      steps=self.options.steps, shard=shard))
        environment = dict(os.environ, OMP_NUM_THREADS="1", **place)
        return out, file, environment

    def launch(self, file, environment):
        return subprocess.Popen([self.options.rft, "train", file, "--quiet"], env=environment, stdout=subprocess.DEVNULL)

    def finish(self, processes):
        for one in processes:
            if one.wait():
                sys.exit(f"rft train ended with {one.returncode}")

    def rows_of(self, out):
        rows = [json.loads(line) for line in open(out / "metrics.jsonl")]
        return rows[2:]  # the first steps make room for what the others use again

    def joined(self, recipe, count, shard):
        """Seconds a step, and bytes that the first process sent in one."""
        out, file, environment = self.start(recipe, self.options.rows * count, shard, {})
        if count > 1:
            port = free_port()
            places = [dict(environment, RANK=str(r), WORLD_SIZE=str(count), MASTER_ADDR="127.0.0.1", MASTER_PORT=port) for r in range(count)]
        else:
            places = [environment]
        self.finish([self.launch(file, place) for place in places])
        rows = self.rows_of(out)
        return statistics.median(row["step_time"] for row in rows), statistics.median(row.get("network/bytes_sent", 0) for row in rows)

    def independent(self, recipe, count):
        """Seconds a step of processes that run beside each other, the slowest one's."""
        started = [self.start(recipe, self.options.rows, "none", {}) for _ in range(count)]
        self.finish([self.launch(file, environment) for _, file, environment in started])
        return max(statistics.median(row["step_time"] for row in self.rows_of(out)) for out, _, _ in started)

    def weights(self):
        """Bytes of the model's weights, from the headers of its files."""
        total = 0
        for file in (self.folder / "data/model").glob("*.safetensors"):
            data = file.read_bytes()
            header = json.loads(data[8:8 + int.from_bytes(data[:8], "little")])
            total += sum(entry["data_offsets"][1] - entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__")
        return total


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=64, help="rows of a process a step")
    parser.add_argument("--hidden", type=int, default=128, help="the model's width")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--shard", default="none", help="train.shard of the joined processes")
    options = parser.parse_args()
    options.rft = str(pathlib.Path(options.rft).resolve())
    with tempfile.TemporaryDirectory() as name:
        bench, count = Bench(options, pathlib.Path(name)), options.processes
        theory = 2 * (count - 1) / count * bench.weights()
        for task, recipe in (("sft", SFT), ("grpo", GRPO)):
            alone, together, apart, sent = [], [], [], []
            for _ in range(options.repeats):
                alone.append(bench.joined(recipe, 1, "none")[0])
                step, bytes_sent = bench.joined(recipe, count, options.shard)
                together.append(step), sent.append(bytes_sent)
                apart.append(bench.independent(recipe, count))
            one, many, free = (statistics.median(x) for x in (alone, together, apart))
            print(f"{task}: seconds a step: 1 process {one:.3f}, {count} independent {free:.3f}, {count} joined {many:.3f}; "
                  f"efficiency {free / many:.0%} ({one / many:.0%} without the allowance), range "
                  f"{min(f / j for f, j in zip(apart, together)):.0%} to {max(f / j for f, j in zip(apart, together)):.0%}", flush=True)
            print(f"{task}: bytes sent a step: {statistics.median(sent):.0f}, of which gradients and weights in theory {theory:.0f}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The same commands on the CPU and on a GPU: answers, log-probabilities, losses and pictures must agree.

    python3 tests/cuda/compare_devices.py RFT [--device cuda:0] [--only generate,train,...]

Needs a machine with a GPU, the program and rft_cuda.so beside librft.so; nothing but Python's own library. Prints a line
a check and ends with 1 where one failed.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


class Machine:
    def __init__(self, rft, device, folder):
        self.rft, self.devices, self.folder = rft, {"cpu": "cpu", "gpu": device}, folder
        self.ready = set()

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, *arguments, timeout=120):
        result = subprocess.run([self.rft, *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                                cwd=REPOSITORY)
        if result.returncode:
            raise RuntimeError(f"rft {' '.join(map(str, arguments))}: {result.stderr.strip()[-500:]}")
        return result.stdout

    def data(self, *what):
        name = "-".join(what) or "arithmetic"
        if name not in self.ready:
            self.run("data", *what, "--out", self.path(name))
            self.ready.add(name)
        return self.path(name)


def rows_of(file):
    with open(file) as lines:
        return [json.loads(line) for line in lines]


def close(one, other, relative, absolute=0.0):
    return math.isclose(one, other, rel_tol=relative, abs_tol=absolute)


def worst(pairs):
    return max((abs(a - b) for a, b in pairs), default=0.0)


@check
def generate(m):
    """Greedy answers of a model with random weights, and their log-probabilities."""
    data = m.data()
    prompts = m.path("prompts.jsonl")
    with open(os.path.join(data, "test.jsonl")) as lines, open(prompts, "w") as out:
        out.writelines(list(lines)[:48])
    answers = {}
    for place, device in m.devices.items():
        out = m.path(f"generated-{place}.jsonl")
        m.run("generate", data + "/model", "--prompts", prompts, "--out", out, "--temperature", 0, "--max-new-tokens",
              24, "--device", device)
        answers[place] = rows_of(out)
    same = sum(a["token_ids"] == b["token_ids"] for a, b in zip(answers["cpu"], answers["gpu"]))
    gap = worst((x, y) for a, b in zip(answers["cpu"], answers["gpu"]) if a["token_ids"] == b["token_ids"]
                for x, y in zip(a["logprobs"], b["logprobs"]))
    total = len(answers["cpu"])
    return same >= 0.9 * total and gap < 1e-3, f"{same} of {total} answers equal, logp differs by at most {gap:.1e}"


@check
def seeds(m):
    """The same seed gives the same tokens whatever else is decoded beside them."""
    data, tokens = m.data(), {}
    prompts = m.path("seeds.jsonl")
    with open(os.path.join(data, "test.jsonl")) as lines, open(prompts, "w") as out:
        out.writelines(list(lines)[:24])
    for batch in (1, 5, 64):
        out = m.path(f"seeds-{batch}.jsonl")
        m.run("generate", data + "/model", "--prompts", prompts, "--out", out, "--samples", 2, "--seed", 7,
              "--max-new-tokens", 24, "--batch-size", batch, "--top-p", 0.9, "--device", m.devices["gpu"])
        tokens[batch] = [row["token_ids"] for row in rows_of(out)]
    equal = tokens[1] == tokens[5] == tokens[64]
    return equal, f"batches of 1, 5 and 64: {'equal' if equal else 'different'}"


@check
def logprob(m):
    data = m.data()
    rows = m.path("scored.jsonl")
    with open(os.path.join(data, "sft.jsonl")) as lines, open(rows, "w") as out:
        out.writelines(list(lines)[:64])
    found = {}
    for place, device in m.devices.items():
        out = m.path(f"scores-{place}.jsonl")
        m.run("logprob", data + "/model", "--data", rows, "--out", out, "--device", device)
        found[place] = [x for row in rows_of(out) for x in row["logprobs"]]
    gap = worst(zip(found["cpu"], found["gpu"]))
    return gap < 1e-4, f"{len(found['cpu'])} log-probabilities differ by at most {gap:.1e}"


def losses(m, name, recipe, names, *overrides, places=("cpu", "gpu")):
    out = {}
    for place in places:
        folder = m.path(f"run-{name}-{place}")
        m.run("train", recipe, *overrides, f"run.output={folder}", f"policy.device={m.devices[place]}", timeout=240)
        out[place] = [[row.get(column, math.nan) for column in names] for row in rows_of(folder + "/metrics.jsonl")]
    return out


def compared(found, names, relative):
    text, good = [], len(found["cpu"]) > 0 and len(found["cpu"]) == len(found["gpu"])
    for i, name in enumerate(names):
        gaps = [abs(a[i] - b[i]) / max(abs(a[i]), 1e-3) for a, b in zip(found["cpu"], found["gpu"])]
        good = good and all(gap <= relative for gap in gaps)  # NaN fails
        text.append(f"{name} {max(gaps):.1e}")
    return good, "relative differences: " + ", ".join(text)


def stage(m, name, text):
    file = m.path(name + ".yaml")
    with open(file, "w") as out:
        out.write(text)
    return file


def sft_recipe(m, name):
    data = m.data()
    return stage(m, name, f"""
run: {{name: {name}, seed: 0, output: x}}
policy: {{type: causal_lm, path: {data}/model}}
objective: {{type: sft}}
data: {{train: {data}/sft.jsonl}}
train: {{steps: 8, batch_size: 32, micro_batch_size: 8, log_every: 1, optimizer: {{lr: 1.0e-3}}}}
""")


@check
def train_sft(m):
    recipe = sft_recipe(m, "sft")
    names = ["loss", "grad_norm"]
    return compared(losses(m, "sft", recipe, names), names, 1e-3)


@check
def train_offload(m):
    """The optimizer's state in the host's memory, beside the same run with all of it on the GPU."""
    recipe = sft_recipe(m, "offload")
    names, good, said = ["loss", "grad_norm"], True, []
    for dtype in ("float32", "bfloat16"):
        override = f"policy.dtype={dtype}"
        there = losses(m, "there-" + dtype, recipe, names, override, places=("gpu",))
        host = losses(m, "host-" + dtype, recipe, names, override, "train.offload=optimizer", places=("gpu",))
        fine, text = compared({"cpu": host["gpu"], "gpu": there["gpu"]}, names, 1e-3 if dtype == "float32" else 5e-2)
        good, said = good and fine, said + [f"{dtype}: {text}"]
    return good, "; ".join(said)


@check
def train_grpo(m):
    """Samples on the GPU, so later steps may differ where a draw falls on a boundary: the first step is compared."""
    data = m.data()
    recipe = stage(m, "grpo", f"""
run: {{name: grpo, seed: 0, output: x}}
policy: {{type: causal_lm, path: {data}/model}}
objective: {{type: grpo, kl_weight: 0.01}}
data: {{prompts: {data}/train.jsonl}}
rollout: {{group_size: 4, max_new_tokens: 16}}
reward: {{type: length, form: target, target: 8}}
credit: {{type: group_normalized}}
train: {{steps: 3, batch_size: 32, micro_batch_size: 8, log_every: 1, optimizer: {{lr: 1.0e-3}}}}
""")
    names = ["reward", "loss", "grad_norm", "logp_mismatch"]
    found = losses(m, "grpo", recipe, names)
    first = {place: rows[:1] for place, rows in found.items()}
    good, text = compared(first, names[:1] + names[2:3], 2e-2)
    mismatch = max(row[3] for row in found["gpu"])
    return good and mismatch < 1e-4, f"first step's {text}; logp_mismatch on the GPU {mismatch:.1e}"


@check
def train_bfloat16(m):
    data = m.data()
    names = ["loss", "grad_norm", "logp_mismatch"]
    recipe = stage(m, "bf16", f"""
run: {{name: bf16, seed: 0, output: x}}
policy: {{type: causal_lm, path: {data}/model, dtype: bfloat16, gradient_checkpointing: true, lora: {{rank: 4}}}}
objective: {{type: grpo}}
data: {{prompts: {data}/train.jsonl}}
rollout: {{group_size: 4, max_new_tokens: 16}}
reward: {{type: length, form: target, target: 8}}
credit: {{type: group_normalized}}
train: {{steps: 4, batch_size: 32, micro_batch_size: 16, log_every: 1, optimizer: {{lr: 1.0e-3}}}}
""")
    rows = losses(m, "bf16", recipe, names, places=("gpu",))["gpu"]
    mismatch = max(row[2] for row in rows)
    finite = all(math.isfinite(x) for row in rows for x in row)
    return finite and mismatch < 2e-2, f"{len(rows)} steps with adapters, logp_mismatch at most {mismatch:.1e}"


def pixels(folder):
    """Every PNG's scanlines, decompressed (filters and all: equal pictures have equal bytes)."""
    out = []
    for name in sorted(os.listdir(folder)):
        if not name.endswith(".png"):
            continue
        with open(os.path.join(folder, name), "rb") as file:
            content = file.read()
        at, packed = 8, b""
        while at < len(content):
            length, kind = int.from_bytes(content[at:at + 4], "big"), content[at + 4:at + 8]
            packed += content[at + 8:at + 8 + length] if kind == b"IDAT" else b""
            at += 12 + length
        out.append(zlib.decompress(packed))
    return out


@check
def images(m):
    """Denoising training, pictures from the same noise, and reward training over the denoising steps."""
    data = m.data("digits")
    names = ["loss", "grad_norm"]
    recipe = stage(m, "digits", f"""
run: {{name: digits, seed: 0, output: x}}
policy: {{type: diffusion, path: {data}/model}}
data: {{train: {data}/train.jsonl}}
objective: {{type: sft}}
train: {{steps: 5, batch_size: 64, log_every: 1, optimizer: {{lr: 1.0e-3}}}}
""")
    good, text = compared(losses(m, "digits", recipe, names), names, 1e-3)
    made = {}
    for place, device in m.devices.items():
        out = m.path(f"pictures-{place}")
        m.run("sample", m.path("run-digits-cpu") + "/final", "--prompts", data + "/test.jsonl", "--out", out, "--device",
              device, "--seed", 3, "--steps", 5)
        made[place] = pixels(out)
    bytes_of = [(a, b) for one, two in zip(made["cpu"], made["gpu"]) for a, b in zip(one, two)]
    different = sum(a != b for a, b in bytes_of)
    recipe = stage(m, "ddpo", f"""
run: {{name: ddpo, seed: 0, output: x}}
policy: {{type: diffusion, path: {m.path("run-digits-cpu")}/final}}
data: {{prompts: {data}/classes.jsonl}}
rollout: {{steps: 5, eta: 1, group_size: 8}}
reward: {{type: jpeg_size}}
credit: {{type: group_normalized}}
objective: {{type: ppo, value_weight: 0}}
train: {{steps: 3, batch_size: 80, log_every: 1, optimizer: {{lr: 1.0e-4}}}}
""")
    names = ["reward", "grad_norm", "logp_mismatch"]
    found = losses(m, "ddpo", recipe, names)
    first = {place: rows[:1] for place, rows in found.items()}
    good_ddpo, text_ddpo = compared(first, names[:2], 2e-2)
    few = len(made["gpu"]) > 0 and len(made["cpu"]) == len(made["gpu"]) and different <= 0.02 * len(bytes_of)
    return (good and few and good_ddpo,
            f"{text}; {len(made['gpu'])} pictures, {different} of {len(bytes_of)} bytes differ; ddpo's first step: {text_ddpo}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(CHECKS)
    folder = tempfile.mkdtemp()
    machine = Machine(os.path.abspath(arguments.rft), arguments.device, folder)
    failed = 0
    for name in chosen:
        start = time.time()
        try:
            good, text = CHECKS[name](machine)
        except Exception as error:  # one failure must not hide the others
            good, text = False, str(error)
        failed += not good
        print(f"{'ok  ' if good else 'FAIL'} {name}: {text} ({time.time() - start:.1f} s)", flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

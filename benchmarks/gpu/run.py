#!/usr/bin/env python3
"""Checks and measures rft on one GPU, beside its peers: `bash benchmarks/gpu/run.sh --rft DIR` (see run.sh).

Every part runs in a process of its own under a time limit; what it has found by then counts. results.json and results.md
are rewritten while it goes on. --smoke runs all of it on the CPU at toy sizes.
"""
import argparse
import functools
import json
import os
import pathlib
import shutil
import signal
import sys
import time
import traceback

import checkpoints
import decode
import device_tests
import grpo
import kernels
import limits
import table
import training
from harness import BEGIN, Job

# name: (what runs, limit in seconds)
PARTS = {
    "limits": (limits.run, 45),
    "models": (checkpoints.run, 60),
    "decode_05b": (functools.partial(decode.run, name="qwen2.5-0.5b"), 75),
    "decode_15b": (functools.partial(decode.run, name="qwen2.5-1.5b"), 90),
    "grpo_05b": (functools.partial(grpo.run, name="qwen2.5-0.5b"), 150),
    "grpo_15b": (functools.partial(grpo.run, name="qwen2.5-1.5b"), 180),
    "tests": (device_tests.run, 200),
    "kernels": (kernels.run, 120),
    "memory": (grpo.memory, 120),
    "train_06b": (functools.partial(training.run, name="qwen3-0.6b"), 90),
    "train_17b": (functools.partial(training.run, name="qwen3-1.7b"), 110),
}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rft", type=pathlib.Path, help="folder of rft's binaries; without it, only the peers run")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, in this order (default: %(default)s)")
    parser.add_argument("--out", type=pathlib.Path, default=os.environ.get("OUT") or "runs/gpu", help="results.json, results.md")
    parser.add_argument("--models", type=pathlib.Path, help="folder of the random checkpoints (default: in memory, or /tmp)")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--budget", type=float, default=570, help="seconds in all; what is left limits the later parts")
    parser.add_argument("--cap", type=float, help="seconds a part, in place of each one's own")
    parser.add_argument("--steps", type=int, default=2, help="measured GRPO steps of rft")
    parser.add_argument("--trl-steps", type=int, default=1, help="measured GRPO steps of TRL")
    parser.add_argument("--trl-variants", default="", help="also TRL with: liger, gradient_checkpointing, continuous_batching")
    parser.add_argument("--sanitize", default="", help="tests to run under compute-sanitizer (default: the first of each suite)")
    parser.add_argument("--smoke", action="store_true", help="toy sizes on the CPU")
    settings = parser.parse_args()
    settings.only = settings.only.split(",")
    unknown = set(settings.only) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    if settings.smoke:
        settings.device, settings.budget = "cpu", 3600
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 40 * 2**30
    base = (memory if roomy else pathlib.Path("/tmp")) / ("rft-gpu-smoke" if settings.smoke else "rft-gpu")
    settings.models = settings.models or base / "models"
    settings.work = base / "work"
    shutil.rmtree(settings.work, ignore_errors=True)
    settings.work.mkdir(parents=True)
    settings.rft = settings.rft and settings.rft.resolve()
    settings.out.mkdir(parents=True, exist_ok=True)
    return settings


def in_child(call, job):
    """Runs a part in a forked process group; gives its process id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    try:
        call(job)
        code = 0
    except BaseException:
        with open(job.records, "a") as file:
            file.write(json.dumps(["error", traceback.format_exc()[-3000:]]) + "\n")
        code = 1
    sys.stdout.flush()
    os._exit(code)


def kill_group(child):
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:
        pass


def read_records(path):
    try:
        return dict(json.loads(line) for line in open(path) if line.endswith("\n"))
    except FileNotFoundError:
        return {}


def save(settings, results):
    for name, text in (("results.json", json.dumps(results, indent=1)), ("results.md", table.markdown(results))):
        part = settings.out / (name + ".part")
        part.write_text(text)
        part.replace(settings.out / name)


def run_part(settings, name, results, limit):
    job = Job(name, settings, results, settings.work / f"{name}.records")
    job.say(f"begins, at most {limit:.0f} s")
    begin, seen, error = time.time(), 0, None
    child = in_child(PARTS[name][0], job)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        elapsed = time.time() - begin
        if not done and elapsed > limit:
            error = f"stopped after its {limit:.0f} s"
            kill_group(child)
            os.waitpid(child, 0)
        found = read_records(job.records)
        if done or error or len(found) > seen:
            error = found.pop("error", None) or error or (f"ended with status {status}" if done and status else None)
            results[name] = {"seconds": elapsed, "error": error, "results": found}
            save(settings, results)
            seen = len(found)
        if done or error:
            break
        time.sleep(0.1)
    kill_group(child)  # whatever it left running
    job.say(f"ended after {elapsed:.1f} s" + (f", with an error: {error}" if error else ""))


def main():
    settings, results = arguments(), {}
    earlier = settings.out / "results.json"
    if earlier.exists():
        results = json.loads(earlier.read_text())
    for name in settings.only:
        left = settings.budget - (time.time() - BEGIN)
        limit = min(settings.cap or PARTS[name][1] * (4 if settings.smoke else 1), left)
        if limit < 5:
            results[name] = {"seconds": 0, "error": "no time was left", "results": {}}
            save(settings, results)
            continue
        run_part(settings, name, results, limit)
    print(table.markdown(results))


if __name__ == "__main__":
    main()

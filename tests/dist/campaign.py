#!/usr/bin/env python3
"""Runs that lose a process, beside one that does not.

    python3 tests/dist/campaign.py [--program build/release/rft] [--runs 30] [--processes 2] [--seed 0]
                                   [--silence 4] [--torchrun PATH] [--cut]

Each run of a tiny recipe (sft, then grpo; every other one with train.shard=optimizer) is hit at a random moment, from
its start to its end: SIGKILL or SIGSTOP to one of its processes. All others must end within 30 s (of a stopped one
naming it); the run is started again with --resume, where it may be hit once more. In the end the weights must be those
of the run that nothing happened to, bit for bit, and metrics.jsonl must have every step once with the same numbers.
With --cut each process has a network of its own (Linux namespaces, which takes root and iproute2's `ip`), and a third kind of
accident takes its cable out: all must end then, the one that is cut off too.
With --torchrun the processes are started by it, and its --max-restarts starts them again (a stopped one it kills after
30 s). Prints a line a run; exits 1 where one failed.
Needs nothing but Python.
"""
import argparse
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

LIMIT = 30  # seconds in which all must have ended
RECIPE = """
run: {{name: tiny, seed: 5, output: {folder}/run}}
policy: {{type: causal_lm, path: {folder}/data/model}}
reward:
  - {{type: math_answer}}
  - {{type: length, form: linear, scale: 50, weight: 0.5}}
stages:
  - objective: {{type: sft}}
    data: {{train: {folder}/data/sft.jsonl}}
    train: {{steps: 40, batch_size: 18, checkpoint_every: 5, optimizer: {{lr: 1.0e-3}}}}
  - objective: {{type: grpo, kl_weight: 0.01}}
    data: {{prompts: {folder}/data/train.jsonl, eval: {folder}/data/test.jsonl}}
    rollout: {{group_size: 4, max_new_tokens: 16, batch_size: 36}}
    train: {{steps: 40, batch_size: 18, micro_batch_size: 5, iterations: 2, eval_every: 4, checkpoint_every: 3, optimizer: {{lr: 1.0e-3}}}}
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Network:
    """A host for each process, and a switch between them."""

    def __init__(self, size):
        self.name, self.size = f"rft{os.getpid()}", size
        self.address = "10.77.0.1"  # of rank 0
        self.ip("netns", "add", f"{self.name}hub")
        self.ip("-n", f"{self.name}hub", "link", "add", "hub", "type", "bridge")
        self.ip("-n", f"{self.name}hub", "link", "set", "hub", "up")
        for rank in range(size):
            host, hub, port = f"{self.name}r{rank}", f"{self.name}hub", f"port{rank}"
            self.ip("netns", "add", host)
            self.ip("-n", hub, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", host)
            self.ip("-n", hub, "link", "set", port, "master", "hub")
            self.ip("-n", hub, "link", "set", port, "up")
            self.ip("-n", host, "link", "set", "lo", "up")
            self.ip("-n", host, "address", "add", f"10.77.0.{rank + 1}/24", "dev", "eth0")
            self.ip("-n", host, "link", "set", "eth0", "up")

    @staticmethod
    def ip(*arguments):
        subprocess.run(["ip", *arguments], check=True)

    def on(self, rank):
        return ["ip", "netns", "exec", f"{self.name}r{rank}"]

    def cut(self, rank):
        self.ip("-n", f"{self.name}hub", "link", "set", f"port{rank}", "down")

    def mend(self):
        for rank in range(self.size):
            self.ip("-n", f"{self.name}hub", "link", "set", f"port{rank}", "up")

    def remove(self):
        for host in ["hub", *(f"r{rank}" for rank in range(self.size))]:
            self.ip("netns", "delete", f"{self.name}{host}")


class Job:
    """The processes of one start."""

    def __init__(self, options, arguments, log):
        self.log, self.network = log, options.network
        place = dict(MASTER_ADDR="127.0.0.1")
        if self.network:
            self.network.mend()
            place = dict(MASTER_ADDR=self.network.address, GLOO_SOCKET_IFNAME="eth0")
        place.update(WORLD_SIZE=str(options.processes), MASTER_PORT=str(free_port()), OMP_NUM_THREADS="1",
                     RFT_SILENCE_SECONDS=str(options.silence), RFT_JOIN_SECONDS="15")
        self.processes = []
        for rank in range(options.processes):
            command = [*(self.network.on(rank) if self.network else []), options.program, "train", *arguments]
            with open(f"{log}.{rank}", "w") as err:
                self.processes.append(subprocess.Popen(command, env=dict(os.environ, RANK=str(rank), **place), stdout=subprocess.DEVNULL,
                                                       stderr=err, stdin=subprocess.DEVNULL))

    def strike(self, kind, victim):
        """Who need not end by itself: a process that is killed or stopped, and none where the network is cut."""
        if kind == "cut":
            self.network.cut(victim)
            return None
        os.kill(self.processes[victim].pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
        return victim

    def running(self, without=None):
        return [r for r, one in enumerate(self.processes) if r != without and one.poll() is None]

    def wait(self, limit, without=None):
        """Seconds until all but `without` had ended; None where they did not."""
        begin = time.monotonic()
        while self.running(without):
            if time.monotonic() - begin > limit:
                return None
            time.sleep(0.01)
        return time.monotonic() - begin

    def end(self):
        for one in self.processes:
            if one.poll() is None:
                one.kill()
            one.wait()

    def said(self, rank):
        return pathlib.Path(f"{self.log}.{rank}").read_text(errors="replace")

    def codes(self):
        return [one.returncode for one in self.processes]


def weights(run):
    files = sorted((run / "final").glob("*.safetensors"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files] or None


def steps(run):
    """metrics.jsonl without what tells the time."""
    told = ("time/", "memory/", "network/")
    rows = [json.loads(line) for line in open(run / "metrics.jsonl")]
    return [{k: v for k, v in row.items() if not k.startswith(told) and k not in ("step_time", "tokens_per_second", "logp_mismatch")}
            for row in rows]


def same(run, whole):
    if weights(run) != weights(whole):
        return "the weights differ"
    ours, theirs = steps(run), steps(whole)
    if [row["step"] for row in ours] != [row["step"] for row in theirs]:
        return "metrics.jsonl has other steps"
    wrong = [row["step"] for row, other in zip(ours, theirs) if row != other]
    return f"the numbers of steps {wrong} differ" if wrong else None


def hit(job, kind, victim, moment):
    """Waits, strikes, and says what is wrong with how the others ended; and how long that took. None, None: too late."""
    time.sleep(moment)
    if victim not in job.running():
        return None, None
    others = [r for r in job.running() if r != victim]
    excused = job.strike(kind, victim)
    took = job.wait(LIMIT, excused)
    if took is None:
        return f"ranks {job.running(excused)} still ran after {LIMIT} s", None
    named = any(re.search(rf"\brank {victim}\b", job.said(r)) for r in others)
    failed = any(job.processes[r].returncode for r in others)
    if kind != "kill" and failed and not named:
        return f"nobody named rank {victim}: " + " | ".join(job.said(r).strip()[-200:] for r in others), took
    return None, took


def disturbed(options, chance, arguments, run, length):
    """One run, hit once or twice, by a loop that starts it again. What is wrong, the story, and the longest end."""
    story, longest, starts = [], 0.0, 0
    hits = 2 if chance.random() < 0.3 else 1
    arguments = arguments + [f"run.output={run}", "--quiet", "--resume"]
    while True:
        job = Job(options, arguments, f"{run}.err{starts}")
        starts += 1
        try:
            if hits == 0:
                if job.wait(120) is None:
                    return "the last start did not end", story, longest
                said = " | ".join(job.said(r).strip()[-300:] for r in range(options.processes))
                return (f"exit codes {job.codes()}: {said}" if any(job.codes()) else None), story, longest
            kinds = ["kill", "stop", "cut"] if options.network else ["kill", "stop"]
            kind, victim, moment = chance.choice(kinds), chance.randrange(options.processes), chance.uniform(0, length)
            wrong, took = hit(job, kind, victim, moment)
            if wrong:
                return wrong, story + [f"{kind} rank {victim} at {moment:.2f} s"], longest
            if took is None:  # it was over already: once more, from the start
                job.wait(LIMIT)
                shutil.rmtree(run)
                length *= 0.9
                continue
            story.append(f"{kind} rank {victim} at {moment:.2f} s, ended in {took:.2f} s")
            longest, hits = max(longest, took), hits - 1
        finally:
            job.end()


def workers(agent):
    """Processes that torchrun started, by its children."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            if int(fields[1]) == agent and b"train" in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except (OSError, IndexError):
            pass
    return sorted(found)


def under_torchrun(options, chance, arguments, run, length):
    """One run that torchrun starts again by itself."""
    command = [options.torchrun, "--no-python", "--nproc-per-node", str(options.processes), "--max-restarts", "3", "--master-addr", "127.0.0.1",
               "--master-port", str(free_port()), options.program, "train", *arguments, f"run.output={run}", "--quiet", "--resume"]
    environment = dict(os.environ, OMP_NUM_THREADS="1", RFT_SILENCE_SECONDS=str(options.silence), RFT_JOIN_SECONDS="15")
    with open(f"{run}.err", "w") as err:
        agent = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=err, stdin=subprocess.DEVNULL)
    try:
        while len(workers(agent.pid)) < options.processes and agent.poll() is None:
            time.sleep(0.02)
        kind, victim, moment = chance.choice(["kill", "stop"]), chance.randrange(options.processes), chance.uniform(0, length)
        time.sleep(moment)
        struck = workers(agent.pid)
        story = [f"{kind} worker {victim} at {moment:.2f} s under torchrun"]
        if victim < len(struck):
            os.kill(struck[victim], signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
        begin = time.monotonic()
        others = set(struck) - set(struck[victim:victim + 1])
        while victim < len(struck) and set(workers(agent.pid)) & others and time.monotonic() - begin < 120:
            time.sleep(0.05)
        took = time.monotonic() - begin
        code = agent.wait(240)
        return (f"torchrun ended with {code}: " + pathlib.Path(f"{run}.err").read_text()[-300:] if code else None), story, took
    finally:
        if agent.poll() is None:
            agent.terminate()
            agent.wait()


def undisturbed(options, folder):
    """Makes the task and runs it with nothing happening; the recipe's file, and the seconds that took."""
    subprocess.run([options.program, "data", "--out", folder / "data", "--seed", "3", "--hidden-size", "32", "--layers", "1", "--demonstrations",
                    "300", "--train", "100", "--test", "20"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(folder=folder))
    begin = time.monotonic()
    whole = Job(options, [str(recipe), f"run.output={folder}/whole", "--quiet"], folder / "whole.err")
    if whole.wait(300) is None or any(whole.codes()):
        whole.end()
        sys.exit("the undisturbed run failed: " + whole.said(0))
    length = time.monotonic() - begin
    print(f"undisturbed: {length:.1f} s, {len(steps(folder / 'whole'))} steps", flush=True)
    return recipe, length


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="build/release/rft")
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--silence", type=float, default=4, help="RFT_SILENCE_SECONDS")
    parser.add_argument("--torchrun", help="a torchrun that starts the processes, and starts them again")
    parser.add_argument("--cut", action="store_true", help="take cables out too")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    options = parser.parse_args()
    options.program = str(pathlib.Path(options.program).resolve())
    chance, folder = random.Random(options.seed), pathlib.Path(tempfile.mkdtemp(prefix="rft-campaign-"))
    options.network = Network(options.processes) if options.cut else None
    recipe, length = undisturbed(options, folder)
    failures, slowest = 0, 0.0
    for i in range(options.runs):
        shard = "optimizer" if i % 2 else "none"
        arguments = [str(recipe), f"stages.0.train.shard={shard}", f"stages.1.train.shard={shard}"]
        run = folder / f"run{i}"
        wrong, story, took = (under_torchrun if options.torchrun else disturbed)(options, chance, arguments, run, length)
        wrong = wrong or same(run, folder / "whole")
        failures, slowest = failures + bool(wrong), max(slowest, took)
        print(f"{i:3} shard {shard}: {'; '.join(story)}: {wrong or 'the same weights'}", flush=True)
    if options.network:
        options.network.remove()
    print(f"{options.runs - failures} of {options.runs} runs came to the same weights; the others ended within {slowest:.2f} s", flush=True)
    if options.keep or failures:
        print(f"files: {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()

"""What the parts of benchmarks/gpu share: their settings and records, rft's commands, peers' processes, memory used."""
import glob
import importlib.util
import json
import os
import pathlib
import random
import select
import string
import subprocess
import sys
import threading
import time

PEERS = pathlib.Path(__file__).resolve().parent.parent / "peers"
BEGIN = float(os.environ.setdefault("RFT_GPU_BEGIN", str(time.time())))


class Missing(Exception):
    """Something that a part measures is not on this machine."""


class Job:
    """A part's view of the run: settings, what earlier parts found, and where its own results go, as they come."""

    def __init__(self, name, settings, results, records):
        self.name, self.settings, self.results, self.records = name, settings, results, records
        self.work = settings.work / name
        self.work.mkdir(parents=True, exist_ok=True)

    def say(self, text):
        print(f"[{time.time() - BEGIN:6.1f} s] {self.name}: {text}", flush=True)

    def record(self, key, value):
        self.say(f"{key} = {json.dumps(rounded(value))}")
        with open(self.records, "a") as file:
            file.write(json.dumps([key, value]) + "\n")

    def attempt(self, key, call, *arguments):
        """Records what a call gives, or why it gave nothing; the part goes on."""
        try:
            value = call(*arguments)
        except Exception as error:
            value = {"error": f"{type(error).__name__}: {error}"[-2000:]}
        self.record(key, value)
        return value if "error" not in value else None

    def limit(self, key):
        """What the part `limits` measured."""
        return self.results.get("limits", {}).get("results", {}).get(key)

    # rft

    def environment(self):
        """Where rft's binaries find LibTorch: in the Python package."""
        torch = pathlib.Path(importlib.util.find_spec("torch").origin).parent
        folders = [self.settings.rft, torch / "lib", *sorted(glob.glob(str(torch.parent / "nvidia" / "*" / "lib")))]
        folders += [os.environ.get("LD_LIBRARY_PATH", "")]
        return dict(os.environ, LD_LIBRARY_PATH=":".join(str(folder) for folder in folders if folder), HF_HUB_OFFLINE="1")

    def binary(self, name):
        path = self.settings.rft / name if self.settings.rft else None
        if not path or not path.exists():
            raise Missing(f"no {name} in the folder given by --rft")
        return str(path)

    def run(self, command, timeout, **keywords):
        """A command's standard output; where it fails, an error that ends with what it said."""
        done = subprocess.run([str(word) for word in command], env=self.environment() if self.settings.rft else None,
                              capture_output=True, text=True, timeout=timeout, **keywords)
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}: {(done.stderr + done.stdout)[-1500:]}")
        return done.stdout

    def train(self, name, recipe, timeout):
        """Runs a recipe; gives the rows of metrics.jsonl, also of a run that took too long, if it made two steps."""
        recipe["run"] = {"name": name, "seed": 0, "output": str(self.work / name)}
        path = self.work / f"{name}.yaml"
        path.write_text(json.dumps(recipe, indent=1))  # JSON is YAML
        metrics = self.work / name / "metrics.jsonl"
        try:
            self.run([self.binary("rft"), "train", path, "--quiet"], timeout)
        except subprocess.TimeoutExpired:
            if not metrics.exists() or len(metrics.read_text().splitlines()) < 2:
                raise
            self.say(f"{name} was stopped after {timeout} s")
        return [json.loads(line) for line in metrics.read_text().splitlines()]

    @staticmethod
    def memory_of(row):
        """A row of metrics' memory, in MiB."""
        return {key.removeprefix("memory/").replace("bytes", "mib"): value / 2**20
                for key, value in row.items() if key.startswith("memory/")}

    def policy(self, folder, **options):
        policy = {"type": "causal_lm", "path": str(folder), **options}
        if self.settings.device != "cpu":
            policy.update(device=self.settings.device, dtype="bfloat16")
        return policy

    def texts(self, name, rows, **lengths):
        """A JSONL file of random texts; lengths: column = characters, each one token."""
        letters = random.Random(0)
        path = self.work / f"{name}.jsonl"
        with open(path, "w") as file:
            for _ in range(rows):
                file.write(json.dumps({column: "".join(letters.choices(string.ascii_lowercase, k=length))
                                       for column, length in lengths.items()}) + "\n")
        return path


class Side:
    """A process that says `ready` and answers every line it is given with one line."""

    def __init__(self, job, command, environment=None):
        self.log = job.work / f"{pathlib.Path(str(command[-1] if len(command) < 2 else command[1])).stem}-{time.time_ns()}.log"
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=open(self.log, "w"), text=True, env=environment)
        self.greeted = False

    def read(self, timeout):
        if not select.select([self.process.stdout], [], [], timeout)[0]:
            raise RuntimeError(f"no answer in {timeout} s")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise RuntimeError(f"ended with {self.process.returncode}: {self.log.read_text()[-1500:]}")
        return line.strip()

    def greet(self, timeout=60):
        if not self.greeted and self.read(timeout) != "ready":
            raise RuntimeError("did not say ready")
        self.greeted = True
        return self

    def ask(self, line="run", timeout=60):
        self.greet()
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.read(timeout)

    def close(self):
        self.process.kill()  # it has nothing to save, and the card's memory is free at once
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def peer(job, script, *arguments):
    """A peer's script; what it imports loads while other things are measured, before it says ready."""
    environment = dict(os.environ, HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1")
    return Side(job, [sys.executable, PEERS / script, *arguments], environment)


class UsedMemory:
    """Peak of the card's used memory over a block, less what was used before it: NVML, every 5 ms; None without one."""

    def __enter__(self):
        self.peak_mib, self.stop = None, threading.Event()
        try:
            import pynvml
            pynvml.nvmlInit()
            card = pynvml.nvmlDeviceGetHandleByIndex(0)
            self.used = lambda: pynvml.nvmlDeviceGetMemoryInfo(card).used
            self.before = self.used()
        except Exception:
            return self
        self.thread = threading.Thread(target=self.watch, daemon=True)
        self.thread.start()
        return self

    def watch(self):
        peak = self.before
        while not self.stop.wait(0.005):
            peak = max(peak, self.used())
        self.peak_mib = (peak - self.before) / 2**20

    def __exit__(self, *_):
        self.stop.set()
        if hasattr(self, "thread"):
            self.thread.join()


def rounded(value):
    """Four digits, for the log."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list) else value

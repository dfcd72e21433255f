#!/usr/bin/env python3
"""Control: rft beside Gymnasium, EnvPool and Stable-Baselines3, in one run.

    python benchmarks/control.py build/release/rft [--what steps,iteration,returns,sac] [--repeats 5] [--threads 2]

steps: environment steps a second, 16 environments under random actions. iteration: a PPO iteration on Hopper with
Stable-Baselines3's default settings (2,048 steps, 10 passes in batches of 64). returns: PPO with rl-zoo3's tuned settings
(configs/*.yaml), mean over 10 greedy episodes after --timesteps, --repeats seeds, --jobs runs at once of one thread each.
sac: the same by SAC (configs/sac_half_cheetah.yaml), which learns every step and is slow on both sides.
The sides run in turn; medians, but means for returns. Needs gymnasium, mujoco, stable-baselines3, rl_zoo3; envpool where
it is there.
"""
import argparse
import concurrent.futures
import importlib.util
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parent.parent
PEER = ROOT / "benchmarks" / "peers" / "control_sb3.py"
ITERATION = """
run: {{name: bench, seed: 0, threads: {threads}, output: {folder}/run}}
environment: {{type: {task}}}
policy: {{type: gaussian}}
rollout: {{environments: 1, steps: 2048, normalize_reward: true}}
credit: {{type: gae, gamma: 0.99, lambda: 0.95, kl_weight: 0}}
objective: {{type: ppo, clip_low: 0.2, value_weight: 1, value_clip: null}}
train: {{timesteps: {timesteps}, batch_size: 64, iterations: 10, max_grad_norm: 0.5, samples_every: 0, log_every: 320,
  checkpoint_every: 0, optimizer: {{lr: 3.0e-4, eps: 1.0e-5}}, schedule: {{type: constant}}}}
"""


def run(command, threads):
    """Confined to so many cores: Gymnasium's vector environment is a process an environment."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    cores = sorted(os.sched_getaffinity(0))[:threads] if threads > 1 else os.sched_getaffinity(0)
    return subprocess.run([str(part) for part in command], env=environment, check=True, capture_output=True, text=True,
                          preexec_fn=lambda: os.sched_setaffinity(0, cores)).stdout


def peer(threads, *arguments):
    return json.loads(run([sys.executable, PEER, *arguments, threads], threads).strip().splitlines()[-1])


def rows_of(folder):
    return [json.loads(line) for line in open(folder / "run/metrics.jsonl")]


def steps(arguments):
    peers = ["gymnasium"] + (["envpool"] if importlib.util.find_spec("envpool") else [])
    print(f"\nenvironment steps a second, 16 environments, {arguments.threads} threads\n")
    print("| task | rft | " + " | ".join(f"{name} | ratio" for name in peers) + " |")
    print("|---|---|" + "---|---|" * len(peers))
    for task in arguments.tasks:
        measured = {name: [] for name in ["rft", *peers]}
        for _ in range(arguments.repeats):
            out = run([arguments.rft, "bench", "environment", "--task", task, "--environments", 16, "--seconds", 2],
                      arguments.threads)
            measured["rft"].append(float(re.search(r"([0-9]+) steps/s", out)[1]))
            for name in peers:
                measured[name].append(peer(arguments.threads, name, task, 16, 2)["steps_per_second"])
        middle = {name: statistics.median(values) for name, values in measured.items()}
        print(f"| {task} | {middle['rft']:.0f} | " +
              " | ".join(f"{middle[name]:.0f} | {middle['rft'] / middle[name]:.2f}" for name in peers) + " |", flush=True)


def rft_iteration(arguments, task, folder, iterations):
    recipe = folder / "recipe.yaml"
    recipe.write_text(ITERATION.format(threads=arguments.threads, folder=folder, task=task,
                                       timesteps=2048 * (iterations + 1)))
    subprocess.run(["rm", "-rf", folder / "run"], check=True)
    run([arguments.rft, "train", recipe, "--quiet"], arguments.threads)
    # Metrics of 320 optimizer steps are means: one iteration's rollout and updates.
    return statistics.median(320 * row["step_time"] for row in rows_of(folder)[1:])


def iteration(arguments):
    print(f"\nseconds of a PPO iteration, {arguments.threads} threads\n\n| task | rft | Stable-Baselines3 | ratio |\n|---|---|---|---|")
    for task in arguments.tasks:
        ours, theirs = [], []
        with tempfile.TemporaryDirectory() as name:
            for _ in range(arguments.repeats):
                ours.append(rft_iteration(arguments, task, pathlib.Path(name), 3))
                theirs.append(peer(arguments.threads, "iteration", task, 3)["seconds"])
        a, b = statistics.median(ours), statistics.median(theirs)
        print(f"| {task} | {a:.3f} | {b:.3f} | {b / a:.2f} |", flush=True)


def rft_return(arguments, recipe, task, seed):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        text = (ROOT / "configs" / f"{recipe}.yaml").read_text()
        text = re.sub(r"environment: {type: \w+}", f"environment: {{type: {task}}}", text)
        text = re.sub(r"warmup: \d+", f"warmup: {min(10000, arguments.timesteps // 2)}", text)
        text = re.sub(r"seed: 0, output: \S+}", f"seed: {seed}, threads: 1, output: {folder}/run}}", text)
        text = re.sub(r"timesteps: \d+", f"timesteps: {arguments.timesteps}", text)
        (folder / "recipe.yaml").write_text(text)
        start = time.perf_counter()
        run([arguments.rft, "train", folder / "recipe.yaml", "--quiet"], 1)
        return {"seconds": time.perf_counter() - start, "return": rows_of(folder)[-1]["eval/episode/return"]}


def returns(arguments, peers="returns", recipe_of="{}"):
    print(f"\n{peers}: return after {arguments.timesteps} steps, {arguments.repeats} seeds, 10 greedy episodes each\n")
    print("| task | rft | s a run | Stable-Baselines3 | s a run |\n|---|---|---|---|---|")
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for task in arguments.tasks:
            pairs = [(pool.submit(rft_return, arguments, recipe_of.format(task), task, seed),
                      pool.submit(peer, 1, peers, task, seed, arguments.timesteps))
                     for seed in range(arguments.repeats)]
            cells = []
            for side in (0, 1):
                results = [pair[side].result() for pair in pairs]
                values = [result["return"] for result in results]
                error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0
                cells.append(f"{statistics.mean(values):.0f} ± {error:.0f} | {statistics.median(r['seconds'] for r in results):.0f}")
                print(f"<!-- {task} {'rft' if side == 0 else 'sb3'}: {[round(v) for v in values]} -->", file=sys.stderr)
            print(f"| {task} | {cells[0]} | {cells[1]} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--what", default="steps,iteration,returns")
    parser.add_argument("--tasks", default="hopper,half_cheetah,walker2d")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--timesteps", type=int, default=300000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    arguments.rft = pathlib.Path(arguments.rft).resolve()
    arguments.tasks = arguments.tasks.split(",")
    for name in arguments.what.split(","):
        {"steps": steps, "iteration": iteration, "returns": returns,
         "sac": lambda a: returns(a, "sac", "sac_half_cheetah")}[name](arguments)


if __name__ == "__main__":
    main()

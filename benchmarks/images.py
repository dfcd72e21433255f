#!/usr/bin/env python3
"""Images: rft beside diffusers and torch, in one run.

    python benchmarks/images.py build/release/rft [--repeats 5] [--threads 2] [--what sample,draft,ddpo]

A U-Net of Stable Diffusion 1.5's shape scaled to about 30 M random weights, 32 x 32 latents, two prompts:
20 DDIM steps with guidance; a DRaFT-1 update (AlignProp's loop); a DDPO update of 20 steps (ddpo-pytorch's loop). The two
sides run in turn. Prints medians of seconds and of peak memory. Needs torch, diffusers and transformers.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).parent.parent
PEER = ROOT / "benchmarks" / "peers" / "images_diffusers.py"
TOKENIZER = ROOT / "tests" / "parity" / "data" / "clip_tokenizer" / "fast"
RECIPE = """
run: {{name: bench, seed: 0, threads: {threads}, output: {folder}/run}}
policy: {{type: diffusion, path: {folder}/model}}
data: {{prompts: {folder}/prompts.jsonl}}
rollout: {{steps: 20, guidance: 1, eta: {eta}, group_size: {group}}}
reward: {{type: colour_target, colour: [0.8, 0.2, 0.2]}}
objective: {objective}
train: {{steps: 3, batch_size: 2, checkpoint_every: 0, samples_every: 0, optimizer: {{lr: 1.0e-5}}, schedule: {{type: constant}}}}
"""
OBJECTIVES = {"draft": ("{type: draft, last_steps: 1}", 0, 1),
              "ddpo": ("{type: ppo, clip_low: 1.0e-4, clip_high: 1.0e-4, value_weight: 0}", 1, 2)}


def timed(command, environment):
    """stdout, and the peak memory of the process, MiB."""
    process = subprocess.Popen([str(part) for part in command], env=environment, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL)
    shown = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"failed: {' '.join(map(str, command))}")
    return shown, usage.ru_maxrss / 1024


def run_rft(rft, what, folder, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    if what == "sample":
        out, peak = timed([rft, "sample", folder / "model", "--prompts", folder / "prompts.jsonl", "--out",
                           folder / "images", "--steps", 20, "--guidance", 5, "--quiet"], environment)
        return {"seconds": float(re.search(r"steps in ([0-9.]+) s", out)[1]), "peak_mib": peak}
    objective, eta, group = OBJECTIVES[what]
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(threads=threads, folder=folder, objective=objective, eta=eta, group=group))
    subprocess.run(["rm", "-rf", folder / "run"], check=True)
    _, peak = timed([rft, "train", recipe, "--quiet"], environment)
    rows = [json.loads(line) for line in open(folder / "run/metrics.jsonl")]
    return {"seconds": min(row["step_time"] for row in rows[1:]), "peak_mib": peak}


def run_peer(what, folder, threads):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    out, peak = timed([sys.executable, PEER, what, folder / "model", threads], environment)
    return {**json.loads(out.strip().splitlines()[-1]), "peak_mib": peak}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--what", default="sample,draft,ddpo")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        made = subprocess.run([sys.executable, PEER, "make", folder / "model", TOKENIZER], check=True,
                              capture_output=True, text=True).stdout
        print("U-Net weights:", json.loads(made.strip().splitlines()[-1])["parameters"])
        (folder / "prompts.jsonl").write_text('{"prompt": "a small red fox"}\n{"prompt": "two boats on a lake"}\n')
        print(f"{'':10}{'rft, s':>10}{'peer, s':>10}{'ratio':>8}{'rft, MiB':>11}{'peer, MiB':>11}{'ratio':>8}")
        for what in arguments.what.split(","):
            ours, peers = [], []
            for _ in range(arguments.repeats):
                ours.append(run_rft(arguments.rft, what, folder, arguments.threads))
                peers.append(run_peer(what, folder, arguments.threads))
            mine, theirs = ({key: statistics.median(row[key] for row in rows) for key in ("seconds", "peak_mib")}
                            for rows in (ours, peers))
            print(f"{what:10}{mine['seconds']:10.3f}{theirs['seconds']:10.3f}{theirs['seconds'] / mine['seconds']:8.2f}"
                  f"{mine['peak_mib']:11.0f}{theirs['peak_mib']:11.0f}{mine['peak_mib'] / theirs['peak_mib']:8.2f}", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Over-optimisation of a reward model: what answers are worth, as a policy moves away from where the model was trained.

    python benchmarks/over_optimisation.py build/release/rft [--folder runs/over_optimisation] [--svg docs/over_optimisation.svg]

As Gao et al. 2023 (arXiv:2210.10760) and Coste et al. 2024 (arXiv:2310.02743): proxy reward models learn from a few
preferences, some of them the wrong way round; a policy learns from a proxy, or from an ensemble of them, without any
penalty on its KL divergence; and every step says what its answers are worth by the gold reward, which nobody learns from.
Here the task is addition (rft data), the gold reward whether the answer is right, and each proxy sees preferences of its
own: between a right and a wrong one of the base model's samples at a higher temperature (--preferences samples), as a
preference data set is made, or between a right and a forgetful solution (solutions). With --backbones own (the default) a proxy also begins from
a language model of its own, another initialisation trained on other demonstrations; with `shared` all begin from the base
model. The policies: one learns from each proxy alone, one from the
least of all proxies (worst_case), one from their mean less a multiple of their variance (uncertainty_weighted), one from
their mean. The figure has the gold reward against the KL divergence of an answer, means over windows of steps, and beside it
that of the best of n of the base model's own answers, whose KL divergence is known. It needs Python alone; what was made
before in --folder is not made again.
"""
import argparse
import json
import math
import pathlib
import random
import subprocess

from rows import read, write

BASE = """
run: {{name: {name}, seed: {seed}, threads: {threads}, output: {f}/{name}}}
policy: {{type: causal_lm, path: {f}/{data}/model}}
data: {{train: {f}/{data}/sft.jsonl}}
objective: {{type: sft}}
train: {{steps: {steps}, batch_size: 64, samples_every: 0, optimizer: {{lr: 2.0e-3}},
  schedule: {{type: cosine, warmup_steps: 20, min_ratio: 0.1}}}}
"""
PROXY = """
run: {{name: proxy{k}, seed: {k}, threads: {threads}, output: {f}/proxy{k}}}
policy: {{type: reward_model, path: {f}/{base}/final}}
data: {{train: {f}/pairs{k}.jsonl, eval: {f}/data/pairs_test.jsonl}}
objective: {{type: bradley_terry, center_weight: 0.01}}
train: {{steps: {steps}, batch_size: 32, samples_every: 0, optimizer: {{lr: 3.0e-4}}}}
"""
POLICY = """
run: {{name: {name}, seed: {seed}, threads: {threads}, output: {f}/{name}}}
policy: {{type: causal_lm, path: {f}/base/final}}
data: {{prompts: {f}/data/train.jsonl}}
rollout: {{group_size: 4, max_new_tokens: {tokens}}}
reward:
  - {{type: weighted_sum, name: proxy, mean: {mean}, uncertainty_weight: {doubt}, rewards: [{rewards}]}}
  - {{type: math_answer, name: gold, weight: 0}}
credit: {{type: leave_one_out, kl_weight: 0}}
objective: {{type: reinforce, kl_weight: 1.0e-12, kl_estimator: k1}}
train: {{steps: {steps}, batch_size: 64, samples_every: 0, checkpoint_every: 0, optimizer: {{lr: {lr}}},
  schedule: {{type: constant}}}}
"""
COLOURS = {"single": "#b5403a", "mean": "#7d7d7d", "worst_case": "#2f6fb0", "uncertainty_weighted": "#3c8d4e"}
TITLES = {"single": "one model (each by itself)", "mean": "mean of the ensemble", "worst_case": "worst case of the ensemble",
          "uncertainty_weighted": "mean less variance"}


def train(arguments, name, recipe):
    """Runs a recipe unless its result is there."""
    folder = pathlib.Path(arguments.folder)
    if not (folder / name / "final").is_dir():
        (folder / f"{name}.yaml").write_text(recipe)
        subprocess.run([arguments.rft, "train", str(folder / f"{name}.yaml"), "--quiet"], check=True,
                       stdout=subprocess.DEVNULL)
    return folder / name


def language_model(arguments, name, seed, common):
    """A language model of its own: initialisation, demonstrations and order of rows come from the seed."""
    folder = pathlib.Path(arguments.folder)
    data = name.replace("base", "data")
    if not (folder / data / "model").is_dir():
        subprocess.run([arguments.rft, "data", "--out", str(folder / data), "--digits", str(arguments.digits),
                        "--demonstrations", "2000", "--train", "1500", "--test", "300", "--hidden-size", "64", "--layers",
                        "2", "--seed", str(seed)], check=True)
    return train(arguments, name, BASE.format(name=name, data=data, seed=seed, steps=arguments.base_steps, **common))


def noisy_pairs(arguments, k):
    """A proxy's own preferences, some of them swapped."""
    folder, rng = pathlib.Path(arguments.folder), random.Random(1000 + k)
    kept = rng.sample(sampled_pairs(arguments) if arguments.preferences == "samples" else
                      read(folder / "data/pairs.jsonl"), arguments.pairs)
    for row in kept:
        if rng.random() < arguments.noise:
            row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
    write(folder / f"pairs{k}.jsonl", kept)


def sampled_pairs(arguments):
    """A right and a wrong answer to each problem of which the base model's samples at a higher temperature have both."""
    folder = pathlib.Path(arguments.folder)
    if not (folder / "compared.jsonl").is_file():
        subprocess.run([arguments.rft, "generate", str(folder / "base/final"), "--prompts", str(folder / "data/train.jsonl"),
                        "--out", str(folder / "drawn.jsonl"), "--samples", "8", "--temperature", str(arguments.temperature),
                        "--max-new-tokens", str(16 * arguments.digits), "--seed", "2"], check=True)
        (folder / "gold.yaml").write_text("- {type: math_answer, name: gold}\n")
        subprocess.run([arguments.rft, "score", str(folder / "gold.yaml"), "--data", str(folder / "drawn.jsonl"), "--out",
                        str(folder / "compared.jsonl")], check=True)
    answers, rng = {}, random.Random(999)
    for row in read(folder / "compared.jsonl"):
        answers.setdefault(row["prompt"], ([], []))[int(row["components"]["gold"])].append(row["completion"])
    return [{"prompt": prompt, "chosen": rng.choice(right), "rejected": rng.choice(wrong)}
            for prompt, (wrong, right) in answers.items() if wrong and right]


def curve_of(run, window):
    """[(KL of an answer, gold, proxy)], means over windows of steps."""
    rows = read(run / "metrics.jsonl")
    points = [(r["kl"] * r["completions/mean_length"], r["rewards/gold/mean"], r["rewards/proxy/mean"])
              for r in rows if "rewards/gold/mean" in r]
    windows = [points[i:i + window] for i in range(0, len(points) - window + 1, window)]
    return [tuple(sum(x) / len(part) for x in zip(*part)) for part in windows]


def mean_curve(curves):
    return [tuple(sum(x) / len(x) for x in zip(*points)) for points in zip(*curves)]


def best_of_n(scores, worth, n):
    """The expected worth of the best by `scores` among n of these answers, drawn without replacement."""
    total = 0.0
    for rank, i in enumerate(sorted(range(len(scores)), key=lambda i: scores[i])):
        if rank >= n - 1:
            total += math.comb(rank, n - 1) / math.comb(len(scores), n) * worth[i]
    return total


def sampled(arguments, members):
    """What the proxies and the gold reward say of the base model's answers: {prompt: [([proxy scores], gold)]}."""
    folder = pathlib.Path(arguments.folder)
    answers = folder / "answers.jsonl"
    if not answers.is_file():
        prompts = (folder / "data/test.jsonl").read_text().splitlines()[:arguments.prompts]
        (folder / "asked.jsonl").write_text("\n".join(prompts) + "\n")
        subprocess.run([arguments.rft, "generate", str(folder / "base/final"), "--prompts", str(folder / "asked.jsonl"),
                        "--out", str(answers), "--samples", str(arguments.samples), "--max-new-tokens",
                        str(16 * arguments.digits), "--seed", "1"], check=True)
    if not (folder / "scored.jsonl").is_file():
        named = "".join(f"- {m[:-1]}, name: p{k}}}\n" for k, m in enumerate(members)) + "- {type: math_answer, name: gold}\n"
        (folder / "score.yaml").write_text(named)
        subprocess.run([arguments.rft, "score", str(folder / "score.yaml"), "--data", str(answers), "--out",
                        str(folder / "scored.jsonl")], check=True)
    out = {}
    for line in (folder / "scored.jsonl").read_text().splitlines():
        row = json.loads(line)
        said = row["components"]
        out.setdefault(row["prompt"], []).append(([said[f"p{k}"] for k in range(len(members))], said["gold"]))
    return out


def best_of_n_curves(arguments, members):
    """The same kinds of curves for best-of-n, whose KL divergence is at most log n - (n - 1) / n."""
    prompts = sampled(arguments, members)
    def uncertain(x):
        mean = sum(x) / len(x)
        return mean - arguments.doubt * sum((y - mean) ** 2 for y in x) / len(x)
    rules = {"single": [lambda x, k=k: x[k] for k in range(len(members))], "mean": [sum], "worst_case": [min],
             "uncertainty_weighted": [uncertain]}
    sizes = [2 ** i for i in range(20) if 2 ** i <= arguments.samples]
    def curve(rule):
        points = []
        for n in sizes:
            worth = [best_of_n([rule(p) for p, _ in a], [gold for _, gold in a], n) for a in prompts.values()]
            points.append((math.log(n) - (n - 1) / n, sum(worth) / len(worth), 0.0))
        return points
    return {kind: [curve(rule) for rule in kinds] for kind, kinds in rules.items()}


def panel(results, left, top, inner, tall, title):
    """Gold reward against KL: thin lines are single runs, thick ones their means."""
    most = max(point[0] for runs in results.values() for run in runs for point in run) * 1.02
    def at(point):
        return left + inner * max(point[0], 0) / most, top + tall * (1 - point[1])
    def line(points, colour, thickness, opacity):
        where = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, points))
        return (f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{thickness}" '
                f'stroke-opacity="{opacity}" stroke-linejoin="round"/>')
    out = [f'<text x="{left}" y="{top - 14}" font-size="14">{title}</text>']
    for i in range(6):
        y, x = at((0, i / 5))[1], left + inner * i / 5
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + inner}" y2="{y:.1f}" stroke="#e4e4e4"/>'
                   f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555">{i / 5:.1f}</text>'
                   f'<text x="{x:.1f}" y="{top + tall + 18}" text-anchor="middle" fill="#555">{most * i / 5:.1f}</text>')
    out.append(f'<text x="{left + inner / 2}" y="{top + tall + 36}" text-anchor="middle" fill="#333">'
               'KL divergence from the base model, nats an answer</text>')
    for kind, runs in results.items():
        if len(runs) > 1:
            out += [line(run, COLOURS[kind], 1, 0.35) for run in runs]
        out.append(line(mean_curve(runs), COLOURS[kind], 2.5, 1))
    return out


def svg(learned, chosen, path, note):
    """Both figures side by side, with one legend."""
    width, height = 960, 430
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<desc>{note}</desc><rect width="{width}" height="{height}" fill="white"/>']
    out += panel(learned, 50, 40, 410, 300, "Share of right answers, as a policy learns from a proxy")
    out += panel(chosen, 525, 40, 410, 300, "... and of the best of n by the proxy")
    for i, kind in enumerate(learned):
        x = 50 + i * 225
        out.append(f'<rect x="{x}" y="{height - 26}" width="16" height="4" fill="{COLOURS[kind]}"/>'
                   f'<text x="{x + 22}" y="{height - 19}" fill="#333">{TITLES[kind]}</text>')
    path.write_text("\n".join(out + ["</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--folder", default="runs/over_optimisation")
    parser.add_argument("--svg", default="docs/over_optimisation.svg")
    parser.add_argument("--proxies", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--noise", type=float, default=0.3, help="share of preferences that are the wrong way round")
    parser.add_argument("--preferences", choices=["samples", "solutions"], default="samples",
                        help="between sampled answers, or between a right and a forgetful solution")
    parser.add_argument("--temperature", type=float, default=1.3, help="of the samples that are compared")
    parser.add_argument("--backbones", choices=["own", "shared"], default="own")
    parser.add_argument("--doubt", type=float, default=5.0, help="weight of the ensemble's variance")
    parser.add_argument("--digits", type=int, default=2)
    parser.add_argument("--base-steps", type=int, default=250)
    parser.add_argument("--proxy-steps", type=int, default=60)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--lr", type=float, default=3e-5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=100, help="best-of-n: held-out prompts")
    parser.add_argument("--samples", type=int, default=64, help="best-of-n: answers to each")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each ensemble")
    o = parser.parse_args()
    folder = pathlib.Path(o.folder)
    folder.mkdir(parents=True, exist_ok=True)
    common = {"f": o.folder, "threads": o.threads}
    language_model(o, "base", 0, common)
    for k in range(o.proxies):
        noisy_pairs(o, k)
        base = f"base{k + 1}" if o.backbones == "own" else "base"
        language_model(o, base, k + 1 if o.backbones == "own" else 0, common)
        run = train(o, f"proxy{k}", PROXY.format(k=k, base=base, steps=o.proxy_steps, **common))
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        print(f"proxy {k}: accuracy on held-out pairs {last.get('eval/accuracy', float('nan')):.3f}", flush=True)
    member = [f"{{type: reward_model, path: {o.folder}/proxy{k}/final}}" for k in range(o.proxies)]

    def policy(name, mean, rewards, seed):
        recipe = POLICY.format(name=name, mean=mean, doubt=o.doubt, rewards=", ".join(rewards), tokens=16 * o.digits,
                               steps=o.steps, lr=o.lr, seed=seed, **common)
        return curve_of(train(o, name, recipe), max(o.steps // 30, 1))

    results = {"single": [policy(f"single{k}", "arithmetic", [member[k]], k) for k in range(o.proxies)]}
    scaled = [m[:-1] + f", weight: {1 / o.proxies}}}" for m in member]
    results["mean"] = [policy(f"mean{s}", "arithmetic", scaled, s) for s in range(o.seeds)]
    for kind in ("worst_case", "uncertainty_weighted"):
        results[kind] = [policy(f"{kind}{s}", kind, member, s) for s in range(o.seeds)]

    chosen = best_of_n_curves(o, member)
    print(f"{'policy':24}{'first':>8}{'best':>8}{'at KL':>8}{'last':>8}{'at KL':>8}{'proxy first':>13}{'last':>8}")
    for kind, runs in results.items():
        for i, run in enumerate(runs + ([mean_curve(runs)] if len(runs) > 1 else [])):
            best = max(run, key=lambda point: point[1])
            name = f"{kind} mean" if i == len(runs) else f"{kind} {i}"
            print(f"{name:24}{run[0][1]:8.3f}{best[1]:8.3f}{best[0]:8.2f}{run[-1][1]:8.3f}{run[-1][0]:8.2f}"
                  f"{run[0][2]:13.2f}{run[-1][2]:8.2f}")
    print(f"{'best of n':24}" + "".join(f"{2 ** i:8}" for i in range(len(chosen["mean"][0]))))
    for kind, runs in chosen.items():
        for i, run in enumerate(runs + ([mean_curve(runs)] if len(runs) > 1 else [])):
            name = f"{kind} mean" if i == len(runs) else f"{kind} {i}"
            print(f"{name:24}" + "".join(f"{point[1]:8.3f}" for point in run))
    note = f"{o.proxies} proxies of {o.pairs} preferences each, {o.noise:.0%} the wrong way round; {o.steps} steps"
    svg(results, chosen, pathlib.Path(o.svg), note)


if __name__ == "__main__":
    main()

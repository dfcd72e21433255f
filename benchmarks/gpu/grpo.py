"""GRPO beside TRL's GRPOTrainer: a step of 64 prompts x 8 completions, and the memory of an update over long rows."""
import contextlib
import json
import statistics

from checkpoints import ensure
from harness import UsedMemory, peer

PROMPT, GROUP = 128, 8
# Rows in memory at once: rft's, TRL's (whose fused head keeps no logits either).
MICRO = {"qwen2.5-0.5b": (32, 32), "qwen2.5-1.5b": (16, 16)}


def ours(job, folder, name, rows, new_tokens, micro, steps, **policy):
    """Medians of the steps after the first, from metrics.jsonl, and the card's memory."""
    prompts = job.texts(f"{name}-prompts", rows // GROUP * (steps + 1), prompt=PROMPT)
    recipe = {"policy": job.policy(folder, **policy), "data": {"prompts": str(prompts)},
              "rollout": {"group_size": GROUP, "max_new_tokens": new_tokens},
              "reward": {"type": "length", "form": "linear", "unit": "characters"}, "objective": {"type": "grpo"},
              "train": {"steps": steps + 1, "batch_size": rows, "micro_batch_size": micro, "checkpoint_every": 0,
                        "samples_every": 0, "optimizer": {"lr": 1e-6}, "schedule": {"type": "constant"}}}
    with UsedMemory() as memory:
        metrics = job.train(name, recipe, 80)
    later = metrics[1:] or metrics
    found = {"step_s": statistics.median(row["step_time"] for row in later)}
    for key in ("rollout", "judge", "reward", "train"):
        if f"time/{key}" in later[0]:
            found[f"{key}_s"] = statistics.median(row[f"time/{key}"] for row in later)
    found["first_step_s"] = metrics[0]["step_time"]
    found["tokens_per_s"] = rows * new_tokens / found["step_s"]
    found["card_mib"] = memory.peak_mib
    found.update(job.memory_of(metrics[-1]))
    return found


def specification(job, name, folder, rows, new_tokens, micro, steps, **options):
    """Writes the peer's settings; starts it, so that its imports are done when it is asked."""
    path = job.work / f"{name}.json"
    prompts = job.texts(f"{name}-prompts", rows // GROUP * (steps + 1), prompt=PROMPT)
    path.write_text(json.dumps({"model": str(folder), "prompts": str(prompts), "rows": rows, "group": GROUP,
                                "new_tokens": new_tokens, "micro": micro, "steps": steps,
                                "device": job.settings.device, **options}))
    return peer(job, "grpo_trl_gpu.py", path)


def theirs(side):
    side.greet(90)
    with UsedMemory() as memory:
        found = json.loads(side.ask(timeout=150))
    side.close()
    return {**found, "card_mib": memory.peak_mib}


def ratio(job, key, mine, peers, step=True):
    if mine and peers:
        found = {"step": peers["step_s"] / mine["step_s"]} if step else {}
        if mine["card_mib"] and peers["card_mib"]:
            found["memory"] = peers["card_mib"] / mine["card_mib"]
        job.record(key, found)


def run(job, name):
    smoke, settings = job.settings.smoke, job.settings
    rows, new_tokens = (16, 16) if smoke else (512, 512)
    own, other = (8, 8) if smoke else MICRO[name]
    folder = ensure(job, name)
    with specification(job, "trl", folder, rows, new_tokens, other, settings.trl_steps) as trl:
        mine = job.attempt("rft", ours, job, folder, "rft", rows, new_tokens, own, settings.steps)
        peers = job.attempt("trl", theirs, trl)
    ratio(job, "ratio", mine, peers)
    for variant in filter(None, settings.trl_variants.split(",")):
        with specification(job, f"trl_{variant}", folder, rows, new_tokens, other, settings.trl_steps,
                           **{variant: True}) as trl:
            ratio(job, f"ratio_{variant}", mine, job.attempt(f"trl_{variant}", theirs, trl))


def memory(job, name="qwen2.5-1.5b"):
    """One update over 8 rows of 2,048 tokens at once, layers recomputed or kept.

    TRL's layer kernels are Liger's, and it is given its completions, so only its update counts; with float32 weights it keeps
    what rft's optimizer keeps.
    """
    new_tokens = 16 if job.settings.smoke else 2048 - PROMPT
    folder = ensure(job, name)
    with contextlib.ExitStack() as stack:
        sides = {}
        for key in ("recompute", "keep"):
            for weights in ("bfloat16", "float32"):  # all four import side by side
                sides[key, weights] = stack.enter_context(specification(
                    job, f"trl_{key}_{weights}", folder, GROUP, new_tokens, GROUP, 1, synthetic=True,
                    liger=not job.settings.smoke, gradient_checkpointing=key == "recompute",
                    float32_weights=weights == "float32"))
        for key in ("recompute", "keep"):
            mine = job.attempt(f"rft_{key}", lambda: ours(job, folder, f"rft_{key}", GROUP, new_tokens, GROUP, 1,
                                                          gradient_checkpointing=key == "recompute"))
            for weights in ("bfloat16", "float32"):
                ratio(job, f"ratio_{key}_{weights}", mine,
                      job.attempt(f"trl_{key}_{weights}", theirs, sides[key, weights]), step=False)

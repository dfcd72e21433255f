"""Supervised fine-tuning at Qwen3's shapes: tokens a second, whole model and LoRA, and the share of matmul throughput."""
import statistics

from checkpoints import ensure
from harness import UsedMemory
from shapes import shape, train_flops

# Tokens a second that surogate's README gives for one H100 (bf16), and rows in memory at once here.
PUBLISHED = {"qwen3-0.6b": 53.9e3, "qwen3-1.7b": 32.8e3}
MICRO = {"qwen3-0.6b": 8, "qwen3-1.7b": 4}


def ours(job, folder, name, key, length, rows, steps, lora):
    data = job.texts("rows", rows * steps, prompt=1, completion=length - 2)  # and the end token
    recipe = {"policy": job.policy(folder, **({"lora": {"rank": 16}} if lora else {})), "data": {"train": str(data)},
              "objective": {"type": "sft"},
              "train": {"steps": steps, "batch_size": rows, "micro_batch_size": MICRO[name], "checkpoint_every": 0,
                        "samples_every": 0, "optimizer": {"lr": 1e-5}, "schedule": {"type": "constant"}}}
    with UsedMemory() as memory:
        metrics = job.train(key, recipe, 120)
    step = statistics.median(row["step_time"] for row in metrics[2:])
    found = {"tokens_per_s": rows * length / step, "step_s": step, "first_step_s": metrics[0]["step_time"],
             "loss": metrics[-1].get("loss"), "card_mib": memory.peak_mib,
             "of_published": rows * length / step / PUBLISHED[name]}
    peak = job.limit("matmul_tflop_s")
    if peak:
        flops = train_flops(shape(name, job.settings.smoke), length, lora)
        found.update(tflop_s=flops * rows * length / step / 1e12, mfu=flops * rows * length / step / 1e12 / peak)
    found.update(job.memory_of(metrics[-1]))
    return found


def run(job, name):
    length, rows, steps = (64, 8, 4) if job.settings.smoke else (2048, 16, 7)
    folder = ensure(job, name)
    for key, lora in (("full", False), ("lora", True)):
        job.attempt(key, ours, job, folder, name, key, length, rows, steps, lora)

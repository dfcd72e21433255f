#!/usr/bin/env python3
"""The peer's side of benchmarks/gpu/grpo.py: GRPO steps of TRL's GRPOTrainer, sampling by transformers' generate.

    python grpo_trl_gpu.py SPECIFICATION.json

Imports, says `ready`, and answers `run` with a JSON line: seconds a step, of which sampling, and peak memory. A step with
completions of 8 tokens comes first and is not counted. Specification: model, prompts, rows, group, new_tokens, micro,
steps, device, and optionally gradient_checkpointing, liger (its layer kernels), continuous_batching, float32_weights
(computed with in bf16), and synthetic (random completions in place of sampling).
"""
import contextlib
import json
import random
import sys
import time

import torch
import transformers
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer


class Stopwatch(transformers.TrainerCallback):
    """Times of the ends of steps; full completions from the second step on."""

    def __init__(self, synchronize):
        self.synchronize, self.times, self.trainer, self.full = synchronize, [], None, None

    def on_step_end(self, args, state, control, **keywords):
        self.synchronize()
        self.times.append(time.perf_counter())
        if len(self.times) == 1:
            if torch.cuda.is_available():
                torch.cuda.reset_peak_memory_stats()
            self.trainer.generation_config.max_new_tokens = self.full


def timed(trainer, synchronize, spent):
    """Notes seconds (rewards included) and tokens of every call of the trainer's generation."""
    inner = trainer._generate_and_score_completions

    def wrapped(inputs):
        synchronize()
        begin = time.perf_counter()
        out = inner(inputs)
        synchronize()
        spent.append((time.perf_counter() - begin, int(out["completion_mask"].sum())))
        return out

    trainer._generate_and_score_completions = wrapped


def random_rollouts(new_tokens):
    def rollout(prompts, trainer):
        vocabulary = trainer.model.config.vocab_size
        ids = [trainer.processing_class(prompt)["input_ids"] for prompt in prompts]
        return {"prompt_ids": ids, "logprobs": None,
                "completion_ids": [random.choices(range(300, vocabulary), k=new_tokens) for _ in prompts]}
    return rollout


def build(spec):
    cuda = spec["device"] != "cpu"
    config = GRPOConfig(
        output_dir="/tmp/unused-trl-output", use_cpu=not cuda, bf16=cuda, save_strategy="no", report_to=[], seed=0,
        gradient_checkpointing=spec.get("gradient_checkpointing", False), use_liger_kernel=spec.get("liger", False),
        use_transformers_continuous_batching=spec.get("continuous_batching", False),
        per_device_train_batch_size=spec["micro"], gradient_accumulation_steps=spec["rows"] // spec["micro"],
        num_generations=spec["group"], max_completion_length=spec["new_tokens"], max_steps=spec["steps"] + 1,
        learning_rate=1e-6, lr_scheduler_type="constant", logging_steps=1000, disable_tqdm=True, top_k=0)
    dtype = torch.bfloat16 if cuda and not spec.get("float32_weights") else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(spec["model"], dtype=dtype, attn_implementation="sdpa")
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec["model"], padding_side="left")
    rows = [json.loads(line)["prompt"] for line in open(spec["prompts"])]
    stopwatch = Stopwatch(torch.cuda.synchronize if cuda else lambda: None)
    extra = {"rollout_func": random_rollouts(spec["new_tokens"])} if spec.get("synthetic") else {}
    trainer = GRPOTrainer(
        model=model, args=config, train_dataset=Dataset.from_dict({"prompt": rows}), processing_class=tokenizer,
        reward_funcs=lambda completions, **_: [float(len(text)) for text in completions], callbacks=[stopwatch], **extra)
    stopwatch.trainer, stopwatch.full = trainer, spec["new_tokens"]
    trainer.generation_config.max_new_tokens = min(8, spec["new_tokens"])
    return trainer, stopwatch


def run(spec):
    trainer, stopwatch = build(spec)
    sampled = []
    timed(trainer, stopwatch.synchronize, sampled)
    trainer.train()
    steps = [b - a for a, b in zip(stopwatch.times, stopwatch.times[1:])]
    found = {"step_s": sum(steps) / len(steps), "sampling_s": sum(seconds for seconds, _ in sampled[1:]) / len(steps),
             "tokens": sum(tokens for _, tokens in sampled[1:]) / len(steps)}
    if spec["device"] != "cpu":
        found.update(torch_allocated_mib=torch.cuda.max_memory_allocated() / 2**20,
                     torch_reserved_mib=torch.cuda.max_memory_reserved() / 2**20)
    return found


def main():
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    print("ready", flush=True)
    sys.stdin.readline()
    with contextlib.redirect_stdout(sys.stderr):
        found = run(spec)
    print(json.dumps(found), flush=True)


main()

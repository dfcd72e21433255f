"""GRPO steps of TRL's GRPOTrainer on the CPU: the peer of `rft train` in benchmarks/grpo.py.

usage: grpo_trl.py MODEL PROMPTS.jsonl STEPS THREADS ROWS   (prints one JSON line)
"""
import json
import os
import resource
import sys
import time

started = time.time()
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1")
model, prompts = sys.argv[1:3]
steps, threads, rows_a_step = map(int, sys.argv[3:6])

import torch  # noqa: E402

torch.set_num_threads(threads)
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402
from trl import GRPOConfig, GRPOTrainer  # noqa: E402

times = []


class Stopwatch(transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        times.append(time.time())


def reward(completions, **kwargs):
    return [text.count("1") / 10 for text in completions]


rows = [json.loads(line)["prompt"] for line in open(prompts)]
config = GRPOConfig(
    output_dir="/tmp/unused-trl-output", use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", report_to=[],
    per_device_train_batch_size=rows_a_step, num_generations=8, max_completion_length=32, max_steps=steps, learning_rate=1e-4,
    lr_scheduler_type="constant", logging_steps=steps, disable_tqdm=True, generation_kwargs={"min_new_tokens": 32}, seed=0)
trainer = GRPOTrainer(
    model=transformers.AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), reward_funcs=reward, args=config,
    train_dataset=Dataset.from_dict({"prompt": rows}), processing_class=transformers.AutoTokenizer.from_pretrained(model, padding_side="left"),
    callbacks=[Stopwatch()])
trainer.train()
gaps = [b - a for a, b in zip(times[1:], times[2:])]
print(json.dumps({"first_step": times[0] - started, "step": sorted(gaps)[len(gaps) // 2],
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))

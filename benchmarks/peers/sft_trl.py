"""The peer's side of benchmarks/logits_memory.py: TRL's SFTTrainer on the CPU, float32.

usage: sft_trl.py MODEL ROWS.jsonl BATCH STEPS THREADS   (prints one JSON line)
"""
import json
import os
import resource
import sys

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRL_EXPERIMENTAL_SILENCE="1")
path, file = sys.argv[1:3]
batch, steps, threads = map(int, sys.argv[3:6])

import torch  # noqa: E402

torch.set_num_threads(threads)
import transformers  # noqa: E402
from datasets import Dataset  # noqa: E402
from trl import SFTConfig, SFTTrainer  # noqa: E402

config = SFTConfig(
    output_dir="/tmp/unused-trl-output", use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", report_to=[],
    per_device_train_batch_size=batch, max_steps=steps, max_length=None, learning_rate=1e-5, logging_steps=1,
    disable_tqdm=True)
trainer = SFTTrainer(
    model=transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), args=config,
    train_dataset=Dataset.from_list([json.loads(line) for line in open(file)]),
    processing_class=transformers.AutoTokenizer.from_pretrained(path))
trainer.train()
print(json.dumps({"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                  "loss": trainer.state.log_history[0]["loss"]}))

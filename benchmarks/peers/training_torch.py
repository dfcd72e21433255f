"""The peer's side of benchmarks/training.py: transformers' model in a plain loop of torch with AdamW.

usage: training_torch.py MODEL ROWS.jsonl BATCH STEPS THREADS   (prints one JSON line)
"""
import json
import os
import resource
import sys
import time

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
path, file = sys.argv[1:3]
batch, steps, threads = map(int, sys.argv[3:6])

import torch  # noqa: E402

torch.set_num_threads(threads)
from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, weight_decay=0)
rows = [[tokenizer(row[part], add_special_tokens=False).input_ids for part in ("prompt", "completion")] for row in map(json.loads, open(file))]


def batch_of(step):
    chosen = [rows[(step * batch + i) % len(rows)] for i in range(batch)]
    longest = max(len(p) + len(c) for p, c in chosen)
    ids = torch.zeros(batch, longest, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for i, (prompt, completion) in enumerate(chosen):
        length = len(prompt) + len(completion)
        ids[i, :length] = torch.tensor(prompt + completion)
        labels[i, len(prompt):length] = torch.tensor(completion)
        mask[i, :length] = 1
    return dict(input_ids=ids, labels=labels, attention_mask=mask)


times, losses = [], []
for step in range(steps):
    start = time.perf_counter()
    optimizer.zero_grad()
    loss = model(**batch_of(step), use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    losses.append(loss.item())
    times.append(time.perf_counter() - start)
print(json.dumps({"step": sorted(times[1:])[len(times[1:]) // 2], "loss": losses[0],
                  "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))

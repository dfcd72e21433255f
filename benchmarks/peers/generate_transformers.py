#!/usr/bin/env python3
"""The peer's side of benchmarks/generate.py: transformers' generate on a model directory.

    python generate_transformers.py MODEL BATCH PROMPT_TOKENS NEW_TOKENS THREADS [DTYPE] [ragged]

Answers every line `run` on stdin with the seconds that one greedy generation took; with `ragged` of 4 x BATCH rows of
unequal lengths, as `rft bench generate --ragged` has them, BATCH at a time, each until its longest row has ended.
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def main():
    path = sys.argv[1]
    batch, prompt_tokens, new_tokens, threads = map(int, sys.argv[2:6])
    torch.set_num_threads(threads)
    kind = getattr(torch, sys.argv[6]) if len(sys.argv) > 6 else torch.float32
    model = AutoModelForCausalLM.from_pretrained(path, dtype=kind).eval()
    # The same prompts as src/app/bench_generate.cpp's.
    rows, lengths = batch, [prompt_tokens] * batch
    wanted = [new_tokens] * batch
    if "ragged" in sys.argv[7:]:
        rows = 4 * batch
        lengths = [max(1, prompt_tokens >> (b % 3)) for b in range(rows)]
        wanted = [max(1, new_tokens >> (b % 5)) for b in range(rows)]
    batches = []
    for first in range(0, rows, batch):
        longest = max(lengths[first:first + batch])
        ids = torch.zeros(batch, longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for i, b in enumerate(range(first, first + batch)):
            ids[i, longest - lengths[b]:] = torch.tensor([(7 * b + 13 * t + 1) % model.config.vocab_size for t in range(lengths[b])])
            mask[i, longest - lengths[b]:] = 1
        most = max(wanted[first:first + batch])
        batches.append((ids, dict(attention_mask=mask, do_sample=False, max_new_tokens=most, min_new_tokens=most, pad_token_id=0)))
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for ids, options in batches:
            out = model.generate(ids, **options)
            assert out.shape == (batch, ids.shape[1] + options["max_new_tokens"])
        print(time.perf_counter() - start, flush=True)


main()

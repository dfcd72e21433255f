#!/usr/bin/env python3
"""The peer's side of benchmarks/generate.py: transformers' generate on a model directory.

    python generate_transformers.py MODEL BATCH PROMPT_TOKENS NEW_TOKENS THREADS

Answers every line `run` on stdin with the seconds that one greedy generation took.
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def main():
    path = sys.argv[1]
    batch, prompt_tokens, new_tokens, threads = map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    # The same prompts as src/app/bench_generate.cpp's.
    ids = torch.tensor([[(7 * b + 13 * t + 1) % model.config.vocab_size for t in range(prompt_tokens)]
                        for b in range(batch)])
    options = dict(attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens,
                   min_new_tokens=new_tokens, pad_token_id=0)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        out = model.generate(ids, **options)
        seconds = time.perf_counter() - start
        assert out.shape == (batch, prompt_tokens + new_tokens)
        print(seconds, flush=True)


main()

#!/usr/bin/env python3
"""The peer's side of benchmarks/gpu/decode.py: transformers' generate, bf16 and sdpa on a GPU.

    python generate_transformers_gpu.py MODEL DEVICE

Answers every line `BATCH PROMPT_TOKENS NEW_TOKENS` on stdin with the seconds that one greedy generation took. The model is
loaded at the first.
"""
import sys
import time

import torch
from transformers import AutoModelForCausalLM


@torch.inference_mode()
def generate(model, batch, prompt_tokens, new_tokens):
    device = model.device
    # The same prompts as src/app/bench_generate.cpp's.
    ids = torch.tensor([[(7 * b + 13 * t + 1) % model.config.vocab_size for t in range(prompt_tokens)]
                        for b in range(batch)], device=device)
    synchronize = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    synchronize()
    start = time.perf_counter()
    out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=new_tokens, pad_token_id=0)
    synchronize()
    seconds = time.perf_counter() - start
    assert out.shape == (batch, prompt_tokens + new_tokens)
    return seconds


def main():
    path, device = sys.argv[1:]
    print("ready", flush=True)
    model = None
    for line in sys.stdin:
        if model is None:
            dtype = torch.float32 if device == "cpu" else torch.bfloat16
            model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, attn_implementation="sdpa").to(device).eval()
            model.generation_config.eos_token_id = None
        print(generate(model, *map(int, line.split())), flush=True)


main()

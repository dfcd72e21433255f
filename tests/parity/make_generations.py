#!/usr/bin/env python3
"""Greedy completions and their log-probabilities by transformers, as tests/parity/data/generations/generations.json.

    python tests/parity/make_generations.py DECODERS_DIR OUT.json

DECODERS_DIR holds tiny causal language models (tests/parity/data/decoders). Each prompt's completion has 12 tokens
(without stopping), computed in float64; positions at which the two likeliest tokens are within 1e-3 end it early.
"""
import json
import os
import sys

import torch
from transformers import AutoModelForCausalLM

LENGTHS = (1, 2, 5, 9, 17, 40)
NEW_TOKENS = 12


def greedy(model, prompt):
    ids, logps = list(prompt), []
    for _ in range(NEW_TOKENS):
        logp = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)
        best = logp.topk(2)
        if best.values[0] - best.values[1] < 1e-3:
            break
        ids.append(best.indices[0].item())
        logps.append(best.values[0].item())
    return ids[len(prompt):], logps


@torch.no_grad()
def main(directory, out):
    torch.manual_seed(0)
    result = {}
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not os.path.exists(os.path.join(path, "model.safetensors")):
            continue
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float64, attn_implementation="eager",
                                                     experts_implementation="eager")
        rows = []
        for length in LENGTHS:
            if length + NEW_TOKENS > min(model.config.max_position_embeddings,
                                         getattr(model.config, "original_max_position_embeddings", 1 << 30)):
                continue
            prompt = torch.randint(0, model.config.vocab_size, (length,)).tolist()
            ids, logps = greedy(model, prompt)
            rows.append({"prompt": prompt, "ids": ids, "logp": [round(x, 8) for x in logps]})
        result[name] = rows
    with open(out, "w") as file:
        json.dump(result, file, separators=(",", ":"))
    print({name: len(rows) for name, rows in result.items()})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])

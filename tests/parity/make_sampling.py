#!/usr/bin/env python3
"""What transformers' logits processors leave of random logits, as tests/parity/data/sampling/filters.json.

    python tests/parity/make_sampling.py OUT.json

Each case holds logits, the tokens already seen, the options, and the ids that are still possible. Logits are multiples
of 2^-20, so that they are the same in float32 and in the file; cases in which rounding or the order
of equal logits decides are left out.
"""
import json
import sys

import torch
from transformers import (LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                          TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper)

OPTIONS = [
    {"top_k": 5}, {"top_k": 1}, {"top_k": 1000}, {"top_p": 0.9}, {"top_p": 0.3}, {"top_p": 0.0}, {"min_p": 0.1},
    {"min_p": 1.0}, {"temperature": 0.5, "top_p": 0.8}, {"temperature": 2.0, "top_p": 0.95, "min_p": 0.02},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.9}, {"temperature": 1.3, "top_k": 20, "top_p": 0.7, "min_p": 0.2},
    {"repetition_penalty": 1.5, "top_k": 10}, {"repetition_penalty": 0.6, "temperature": 0.8, "top_p": 0.5},
]


def processors(o):
    chain = LogitsProcessorList()
    if "repetition_penalty" in o:
        chain.append(RepetitionPenaltyLogitsProcessor(o["repetition_penalty"]))
    if "temperature" in o:
        chain.append(TemperatureLogitsWarper(o["temperature"]))
    if "top_k" in o:
        chain.append(TopKLogitsWarper(o["top_k"]))
    if "top_p" in o:
        chain.append(TopPLogitsWarper(o["top_p"]))
    if "min_p" in o:
        chain.append(MinPLogitsWarper(o["min_p"]))
    return chain


def main(out):
    torch.manual_seed(0)
    cases = []
    for vocab, spread in ((7, 2.0), (300, 3.0), (300, 0.1)):
        for options in OPTIONS:
            logits = torch.round(torch.randn(1, vocab) * spread * 1048576) / 1048576
            seen = torch.randint(0, vocab, (1, 6))
            single = processors(options)(seen, logits.clone())
            double = processors(options)(seen, logits.double())
            if not torch.equal(single.isinf(), double.isinf()) or logits.unique().numel() < vocab:
                continue
            kept = torch.nonzero(~single[0].isinf()).flatten().tolist()
            cases.append({"logits": (logits[0] * 1048576).int().tolist(), "seen": seen[0].tolist(), "options": options,
                          "kept": kept})
    with open(out, "w") as file:
        json.dump(cases, file, separators=(",", ":"))
    print(len(cases), "cases")


if __name__ == "__main__":
    main(sys.argv[1])

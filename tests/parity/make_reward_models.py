"""Tiny reward models as transformers writes them, with their scores.

usage: python tests/parity/make_reward_models.py tests/parity/data/reward_models        (needs transformers 5)

Sequence classification with one label (qwen2, llama, gpt2) and token classification with two (qwen3), all float32, with
the tokenizer of tests/parity/data's decoders copied beside them by the test. Scores are those of one row at a time, at
the last token, or at every token.
"""
import json
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from transformers import (GPT2Config, GPT2ForSequenceClassification, LlamaConfig, LlamaForSequenceClassification,
                          Qwen2Config, Qwen2ForSequenceClassification, Qwen3Config, Qwen3ForTokenClassification)

out = sys.argv[1]
common = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
              num_key_value_heads=1, max_position_embeddings=64, pad_token_id=0)
models = {
    "qwen2": (Qwen2ForSequenceClassification, Qwen2Config(**common, num_labels=1)),
    "llama": (LlamaForSequenceClassification, LlamaConfig(**common, num_labels=1)),
    "gpt2": (GPT2ForSequenceClassification,
             GPT2Config(vocab_size=64, n_embd=16, n_layer=2, n_head=2, n_positions=64, pad_token_id=0, num_labels=1)),
    "qwen3_steps": (Qwen3ForTokenClassification, Qwen3Config(**common, head_dim=8, num_labels=2)),
}
g = torch.Generator().manual_seed(5)
rows = [torch.randint(1, 64, (n,), generator=g) for n in (3, 17, 9, 1)]
scores = {}
for name, (cls, config) in models.items():
    torch.manual_seed(3)
    model = cls(config).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=g))  # biases and norms that say something
    model.save_pretrained(os.path.join(out, name))
    with torch.no_grad():
        logits = [model(r[None]).logits[0] for r in rows]
    scores[name] = [(x[:, 1] - x[:, 0]).tolist() if x.dim() == 2 else x.tolist() for x in logits]
with open(os.path.join(out, "scores.json"), "w") as f:
    json.dump({"rows": [r.tolist() for r in rows], "scores": scores}, f)
print({k: v[0] for k, v in scores.items()})

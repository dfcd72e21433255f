"""Losses and gradients of TPO, a preference with a gold answer beside the pair.

usage: python tests/parity/make_tpo_losses.py tests/parity/data/trl/tpo_losses.json      (needs trl 1.16)

From TPOTrainer._compute_loss, called on a stand-in for the trainer, whose model gives these logits. Three triples as nine
rows: the chosen answers, the rejected ones, the gold ones. Gradients are those of the logits. Options are written under
rft's names.
"""
import collections
import json
import os
import sys
import types

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import trl
from trl.experimental.tpo.tpo_trainer import TPOTrainer

torch.set_default_dtype(torch.float64)

g = torch.Generator().manual_seed(31)
N, T, V = 9, 6, 5
ids = torch.randint(V, (N, T), generator=g)
logits = torch.randn(N, T, V, generator=g)
prompt, length = 2, torch.tensor([4, 2, 3, 3, 4, 1, 2, 4, 3])
place = torch.arange(T)
mask = ((place >= prompt) & (place < prompt + length[:, None])).long()


class Accelerator:
    def gather(self, x):
        return x

    gather_for_metrics = gather


def case(options):
    o = options
    x = logits.clone().requires_grad_(True)
    variant = o.get("variant", "sigmoid")
    self = types.SimpleNamespace(
        model=types.SimpleNamespace(training=True), accelerator=Accelerator(), _tp_size=1, _total_train_tokens=0,
        _metrics={"train": collections.defaultdict(list)}, loss_type="tpo-l" if variant == "simpo" else variant,
        beta=o.get("beta", 0.1), label_smoothing=o.get("label_smoothing", 0.0), tpo_l_gamma=o.get("gamma", 0.5),
        tpo_alpha=o.get("nll_weight", 1.0))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": mask}
    loss = TPOTrainer._compute_loss(self, lambda **kw: types.SimpleNamespace(logits=x), inputs, False)
    loss.backward()
    found = self._metrics["train"]
    names = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen",
             "logps/rejected"]
    return {"options": {"type": "cpo", "gold": True, **o}, "loss": loss.item(), "grad": x.grad.tolist(),
            "metrics": {name: found[name][-1] for name in names}}


cases = [case({"variant": v, **more}) for v in ["sigmoid", "hinge", "ipo", "simpo"]
         for more in ({}, {"beta": 0.7, "nll_weight": 0.4, "gamma": 0.9},
                      {"label_smoothing": 0.2} if v in ("sigmoid", "simpo") else {"beta": 0.02})]
json.dump({"trl": trl.__version__, "ids": ids.tolist(), "mask": mask.tolist(), "logits": logits.tolist(),
           "cases": cases}, open(sys.argv[1], "w"), separators=(",", ":"))

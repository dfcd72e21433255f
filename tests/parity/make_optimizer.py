"""AdamW steps of PyTorch and learning rates of transformers' schedules: data/train/optimizer.json.

usage: python tests/parity/make_optimizer.py
"""
import json
import pathlib

import torch
import transformers

out = {"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}

generator = torch.Generator().manual_seed(3)
weight = torch.randn(3, 4, generator=generator)
bias = torch.randn(4, generator=generator)
out["weight"], out["bias"] = weight.flatten().tolist(), bias.tolist()
parameters = [torch.nn.Parameter(weight.clone()), torch.nn.Parameter(bias.clone())]
optimizer = torch.optim.AdamW(
    [{"params": [parameters[0]], "weight_decay": 0.1}, {"params": [parameters[1]], "weight_decay": 0.0}],
    lr=0.01, betas=(0.9, 0.95), eps=1e-7)
out["steps"] = []
for step in range(5):
    grads = [torch.randn(p.shape, generator=generator) * (3 if step == 2 else 0.2) for p in parameters]
    for p, g in zip(parameters, grads):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    out["steps"].append({"grads": [g.flatten().tolist() for g in grads], "norm": norm.item(),
                         "values": [p.detach().flatten().tolist() for p in parameters]})

out["schedules"] = {}
for name, kwargs in {"linear": {}, "cosine": {}, "inverse_sqrt": {}, "constant_with_warmup": {}}.items():
    for warmup in (0, 4):
        parameter = torch.nn.Parameter(torch.zeros(1))
        sgd = torch.optim.SGD([parameter], lr=1.0)
        schedule = transformers.get_scheduler(name, sgd, num_warmup_steps=warmup, num_training_steps=20)
        rates = []
        for _ in range(20):
            rates.append(schedule.get_last_lr()[0])
            sgd.step()
            schedule.step()
        out["schedules"][f"{name}/{warmup}"] = rates

folder = pathlib.Path(__file__).parent / "data" / "train"
folder.mkdir(parents=True, exist_ok=True)
(folder / "optimizer.json").write_text(json.dumps(out) + "\n")

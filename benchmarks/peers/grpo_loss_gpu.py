#!/usr/bin/env python3
"""The peers' side of benchmarks/gpu/kernels.py: GRPO's loss and gradients by ATen, TRL 1.16 and Liger.

    python grpo_loss_gpu.py DEVICE ROWS LENGTH HIDDEN VOCABULARY

Answers every line that names an implementation with a JSON line: milliseconds forward and backward, and peak memory beyond
the inputs. From logits: aten_logits, liger_logits. From hidden states and the head's weights: aten_head, trl_head,
liger_head, liger_head_compiled.
"""
import json
import statistics
import sys
import time

import torch


def policy_loss(logp, advantages):
    """Token-mean clipped loss of an update on policy, as TRL's dapo."""
    ratio = torch.exp(logp - logp.detach())
    clipped = torch.clamp(ratio, 0.8, 1.2)
    return -torch.min(ratio * advantages[:, None], clipped * advantages[:, None]).mean()


def selected(logits, ids):
    return torch.log_softmax(logits.float(), -1).gather(-1, ids[..., None]).squeeze(-1)


class Inputs:
    def __init__(self, device, rows, length, hidden, vocabulary):
        self.rows, self.length, dtype = rows, length, torch.bfloat16
        self.hidden = torch.randn(rows, length, hidden, dtype=dtype, device=device, requires_grad=True)
        self.weight = (torch.randn(vocabulary, hidden, dtype=dtype, device=device) * 0.02).requires_grad_(True)
        self.ids = torch.randint(vocabulary, (rows, length), device=device)
        self.advantages = torch.randn(rows, device=device)
        self.mask = torch.ones(rows, length, dtype=torch.long, device=device)
        self.cached = None

    def logits(self):
        """[rows, length + 1, vocabulary], a leaf; made anew by a caller that drops it first."""
        if self.cached is None:
            with torch.no_grad():
                last = torch.cat([self.hidden, self.hidden[:, :1]], 1)
                self.cached = (last @ self.weight.T)
            self.cached.requires_grad_(True)
        return self.cached


def aten_logits(x):
    return policy_loss(selected(x.logits()[:, :-1], x.ids), x.advantages)


def liger_logits(x):
    from liger_kernel.transformers.grpo_loss import triton_grpo_loss
    loss, _ = triton_grpo_loss(x.logits(), None, None, x.ids, x.advantages, x.mask, temperature=1.0, beta=0.0, eps_high=0.2,
                               reduce=True)
    return loss


def aten_head(x):
    return policy_loss(selected(x.hidden @ x.weight.T, x.ids), x.advantages)


def trl_head(x):
    """What GRPOTrainer calls: log-probabilities and entropies of 32,768 columns at a time."""
    from trl.kernels import ChunkedLogProbFunction
    logp = ChunkedLogProbFunction.apply(x.hidden.reshape(-1, x.hidden.shape[-1]), x.weight, None, x.ids.reshape(-1), 1.0, 32768,
                                        None, 1.0, ("log_probs", "entropy"))[0]
    return policy_loss(logp.view(x.rows, x.length), x.advantages)


def liger_head(x, compiled=False):
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss
    loss = LigerFusedLinearGRPOLoss(beta=0.0, use_ref_model=False, compiled=compiled, temperature=1.0)
    return loss(x.hidden, x.weight, x.ids, x.mask, x.advantages)[0]


def liger_head_compiled(x):
    return liger_head(x, True)


IMPLEMENTATIONS = {f.__name__: f for f in (aten_logits, liger_logits, aten_head, trl_head, liger_head, liger_head_compiled)}


def measure(x, loss, repeats=5):
    cuda = x.hidden.is_cuda
    synchronize = torch.cuda.synchronize if cuda else lambda: None
    if "logits" not in loss.__name__:
        x.cached = None
    else:
        x.logits()
    if cuda:
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    times = []
    for i in range(repeats + 1):
        for tensor in (x.hidden, x.weight, x.cached):
            if tensor is not None:
                tensor.grad = None
        synchronize()
        begin = time.perf_counter()
        value = loss(x)
        value.backward()
        synchronize()
        if i:
            times.append(time.perf_counter() - begin)
    found = {"ms": statistics.median(times) * 1e3, "loss": float(value)}
    if "logits" not in loss.__name__:
        found["hidden_grad_norm"] = float(x.hidden.grad.float().norm())
    if cuda:
        found["peak_mib"] = (torch.cuda.max_memory_allocated() - before) / 2**20
    for tensor in (x.hidden, x.weight):
        tensor.grad = None
    x.cached = None  # liger_logits leaves the gradient in its place
    return found


def main():
    device, *sizes = sys.argv[1:]
    print("ready", flush=True)
    inputs = None
    for line in sys.stdin:
        if inputs is None:
            torch.manual_seed(0)
            inputs = Inputs(device, *map(int, sizes))
        try:
            found = measure(inputs, IMPLEMENTATIONS[line.strip()])
        except Exception as error:
            inputs.cached = None
            found = {"error": f"{type(error).__name__}: {error}"[-1000:]}
        print(json.dumps(found), flush=True)


main()

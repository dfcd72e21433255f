"""Losses on the forward process of finished samples, from the formulas of their authors -> tests/parity/data/
forward_losses.safetensors: inputs, losses and gradients.

    python tests/parity/make_forward_losses.py

- DiffusionNFT: arXiv:2509.16117 and scripts/train_nft_sd3.py of NVlabs' DiffusionNFT: velocities, x0 = x_t - t v.
- AWM: arXiv:2509.25050 and src/flow_factory/trainers/awm.py of X-GenGroup's Flow-Factory: PPO's clipped loss of
  exp(old error - error).
- PRDP: arXiv:2402.08714, equations of sections 4.1 (reward difference prediction) and 4.2 (proximal updates).
- RPO: arXiv:2407.12164, cross-entropy to Bradley-Terry's probability of the two rewards.
- Flow-RWR: arXiv:2501.13918, exp(reward) times the matching loss.
"""
import pathlib

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent / "data"
B, T, SHAPE = 6, 2, (2, 3, 3)


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def nft(v, v_old, v_ref, x0, xt, t, advantage, mode, beta, clip, kl_weight):
    t_expanded = t.view(B, T, 1, 1, 1)
    a = advantage.clamp(-clip, clip)
    if mode == "positive_only":
        a = a.clamp(0, clip)
    elif mode == "negative_only":
        a = a.clamp(-clip, 0)
    elif mode == "one_only":
        a = torch.where(a > 0, torch.ones_like(a), torch.zeros_like(a))
    elif mode == "binary":
        a = a.sign()
    r = (a / clip / 2 + 0.5).clamp(0, 1)
    losses = []
    for mixed in (beta * v + (1 - beta) * v_old, (1 + beta) * v_old - beta * v):
        estimate = xt - t_expanded * mixed
        with torch.no_grad():
            weight = (estimate.double() - x0.double()).abs().mean(dim=(2, 3, 4), keepdim=True).clip(min=1e-5)
        losses.append(((estimate - x0) ** 2 / weight).mean(dim=(2, 3, 4)))
    policy = (r * losses[0] / beta + (1 - r) * losses[1] / beta) * clip
    kl = ((v - v_ref) ** 2).mean(dim=(2, 3, 4))
    return policy.mean() + kl_weight * kl.mean()


def main():
    torch.manual_seed(0)
    out = {}
    x0 = randn(B, 1, *SHAPE).expand(B, T, *SHAPE).contiguous()
    t, noise = torch.rand(B, T, dtype=torch.float64) * 0.9 + 0.05, randn(B, T, *SHAPE)
    xt = (1 - t.view(B, T, 1, 1, 1)) * x0 + t.view(B, T, 1, 1, 1) * noise
    v_old, advantage = noise - x0 + 0.5 * randn(B, T, *SHAPE), (3 * randn(B, 1)).expand(B, T).contiguous()
    v, v_ref = v_old + 0.2 * randn(B, T, *SHAPE), v_old + 0.3 * randn(B, T, *SHAPE)
    out |= {"v": v, "v_old": v_old, "v_ref": v_ref, "x0": x0, "xt": xt, "t": t, "advantage": advantage}
    for mode in ("all", "positive_only", "negative_only", "one_only", "binary"):
        leaf = v.clone().requires_grad_()
        loss = nft(leaf, v_old, v_ref, x0, xt, t, advantage, mode, beta=0.7, clip=4.0, kl_weight=0.3)
        loss.backward()
        out |= {f"nft.{mode}": loss.detach(), f"grad.nft.{mode}": leaf.grad}

    # Matching losses as log-probabilities, [B, T].
    logp = -((v - (noise - x0)) ** 2).mean(dim=(2, 3, 4))
    old = -((v_old - (noise - x0)) ** 2).mean(dim=(2, 3, 4))
    ref = -((v_ref - (noise - x0)) ** 2).mean(dim=(2, 3, 4))
    reward = randn(B)
    out |= {"logp": logp, "old_logp": old, "ref_logp": ref, "reward": reward}

    def add(name, loss_of):
        leaf = logp.clone().requires_grad_()
        loss = loss_of(leaf)
        loss.backward()
        out.update({name: loss.detach(), f"grad.{name}": leaf.grad})

    def awm(x):
        ratio = torch.exp(x - old)
        return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - 0.02, 1 + 0.02)).mean()

    add("awm", awm)
    pairs, beta = B // 2, 0.4
    wanted = (reward[:pairs] - reward[pairs:]) / beta

    def prdp(x, clip):
        def predicted(y):
            each = (y - ref).sum(1)
            return each[:pairs] - each[pairs:]
        error = (predicted(x) - wanted) ** 2
        if clip:
            held = old + (x - old).clamp(-clip, clip)
            error = torch.maximum(error, (predicted(held) - wanted) ** 2)
        return error.mean()

    add("prdp", lambda x: prdp(x, 0))
    add("prdp.clip", lambda x: prdp(x, 0.05))

    def rpo(x):
        each = (x - ref).sum(1)
        return F.binary_cross_entropy_with_logits(2.0 * (each[:pairs] - each[pairs:]),
                                                  torch.sigmoid((reward[:pairs] - reward[pairs:]) / 0.5))

    add("rpo", rpo)
    add("flow_rwr", lambda x: (reward.exp().unsqueeze(1) * -x).mean())
    save_file({name: value.contiguous() for name, value in out.items()}, HERE / "forward_losses.safetensors")


if __name__ == "__main__":
    main()

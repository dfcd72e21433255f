"""Losses, gradients and metrics of objectives that TRL keeps outside its main trainers, and of formulas of verl's.

usage: python tests/parity/make_language_losses.py tests/parity/data/trl/language_losses.json      (needs trl 1.16)

CPO, ORPO, the reward model, A2PO and IW-OPD come from the trainers' own methods, called on a stand-in for the trainer; the
divergences from GKDTrainer.generalized_jsd_loss. verl is not a dependency: clip_cov, kl_cov and dro are re-derived from
verl/trainer/ppo/core_algos.py (compute_policy_loss_clip_cov, _kl_cov, and the dro loss), where verl draws the tokens of
clip_cov at random with the tokens of highest covariance instead. Options are written under rft's names.
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
from trl.experimental.a2po.a2po_trainer import A2POTrainer
from trl.experimental.cpo.cpo_trainer import CPOTrainer
from trl.experimental.gkd.gkd_trainer import GKDTrainer
from trl.experimental.iw_opd.iw_opd_trainer import IWOPDTrainer
from trl.experimental.orpo.orpo_trainer import ORPOTrainer
from trl.trainer.reward_trainer import RewardTrainer

torch.set_default_dtype(torch.float64)


def plain(x):
    return x.detach().tolist() if isinstance(x, torch.Tensor) else x


class Accelerator:
    device = torch.device("cpu")

    def gather(self, x):
        return x

    gather_for_metrics = gather


# ---- three pairs as six rows, the chosen ones first; every row has tokens
g = torch.Generator().manual_seed(77)
B, T = 6, 5
logp = -torch.randn(B, T, generator=g).abs() - 0.05
old = logp + 0.3 * torch.randn(B, T, generator=g)
ref = logp + 0.4 * torch.randn(B, T, generator=g)
advantage = torch.tensor([1.2, -0.7, 0.4, -0.9, 0.0, 2.0])
reward = torch.tensor([1.0, 0.0, 0.5, 0.2, 0.0, 0.9])
optimal = torch.tensor([0.6, 0.6, 0.4, 0.4, 0.7, 0.7])
mask = torch.arange(T) < torch.tensor([5, 3, 4, 1, 5, 2])[:, None]
score = torch.tensor([1.2, -0.3, 0.5, 0.4, 0.1, -0.9])
margin = torch.tensor([0.1, 0.0, 0.3])
cases = {}


def keep(name, options, loss, leaf, metrics=None):
    loss.backward()
    cases[name] = {"options": options, "loss": loss.item(), "grad": plain(leaf.grad), "metrics": metrics or {}}


def preference(name, cls, options, average, **settings):
    x = logp.clone().requires_grad_(True)
    total = (x * mask).sum(1)
    each = total / mask.sum(1) if average else total
    nll = -(x * mask)[: B // 2].sum() / mask[: B // 2].sum()
    none = torch.zeros(B // 2, 1)
    self = types.SimpleNamespace(accelerator=Accelerator(), aux_loss_enabled=False, **settings)
    self.concatenated_forward = lambda model, batch: (each[: B // 2], each[B // 2 :], none, none, nll)
    for method in ("cpo_loss", "odds_ratio_loss"):
        if hasattr(cls, method):
            setattr(self, method, types.MethodType(getattr(cls, method), self))
    loss, metrics = cls.get_batch_loss_metrics(self, None, {}, "train")
    kept = {k: float(v) for k, v in metrics.items() if not k.startswith("logits/")}
    keep(name, options, loss, x, kept)


def cpo(name, options):
    o = options
    variant = o.get("variant", "sigmoid")
    preference(name, CPOTrainer, {"type": "cpo", **o}, variant in ("ipo", "simpo"), loss_type=variant,
               beta=o.get("beta", 0.1), label_smoothing=o.get("label_smoothing", 0.0), simpo_gamma=o.get("gamma", 0.5),
               alpha=o.get("alpha", 0.0), cpo_alpha=o.get("nll_weight", 1.0))


for v in ["sigmoid", "hinge", "ipo", "simpo"]:
    cpo(f"cpo {v}", {"variant": v})
    cpo(f"cpo {v} options", {"variant": v, "beta": 0.7, "label_smoothing": 0.2 if v in ("sigmoid", "simpo") else 0.0,
                             "gamma": 0.9, "nll_weight": 0.0})
cpo("alphapo", {"variant": "simpo", "alpha": 0.25, "beta": 2.5, "gamma": 0.3, "nll_weight": 0.0})
preference("orpo", ORPOTrainer, {"type": "orpo"}, True, beta=0.1)  # its odds are float32
preference("orpo beta", ORPOTrainer, {"type": "orpo", "beta": 0.6}, True, beta=0.6)


def bradley_terry(name, options, with_margin):
    x = score.clone().requires_grad_(True)
    metrics = {"train": collections.defaultdict(list)}
    self = types.SimpleNamespace(model=types.SimpleNamespace(training=True), accelerator=Accelerator(), _tp_size=1,
                                 _total_train_tokens=0, _metrics=metrics,
                                 args=types.SimpleNamespace(center_rewards_coefficient=options.get("center_weight")))
    inputs = {"attention_mask": torch.ones(B, 1), **({"margin": margin} if with_margin else {})}
    loss = RewardTrainer.compute_loss(self, lambda **kw: types.SimpleNamespace(logits=x.unsqueeze(-1)), inputs)
    kept = {k: float(metrics["train"][k][-1]) for k in ("accuracy", "margin", "mean_reward")}
    keep(name, {"type": "bradley_terry", **options}, loss, x, kept)
    cases[name]["with_margin"] = with_margin


bradley_terry("reward", {}, False)
bradley_terry("reward margin", {}, True)
bradley_terry("reward centred", {"center_weight": 0.05}, True)

x = logp.clone().requires_grad_(True)
self = types.SimpleNamespace(
    model=types.SimpleNamespace(training=True), _metrics={"train": collections.defaultdict(list)},
    args=types.SimpleNamespace(beta2=0.2), _get_sequence_logps=lambda *a: (x * mask).sum(1))
inputs = {"input_ids": None, "attention_mask": None, "logits_to_keep": None, "ref_logps": (ref * mask).sum(1),
          "rewards": reward, "v_star": optimal}
keep("a2po", {"type": "a2po", "beta": 0.2}, A2POTrainer.compute_loss(self, None, inputs), x)

# ---- DFT, as SFTTrainer.compute_loss multiplies it in
x = logp.clone().requires_grad_(True)
keep("dft", {"type": "dft"}, (-x * x.exp().detach() * mask).sum() / mask.sum(), x)


# ---- IW-OPD: a vocabulary of two, whose first token's log-probability is x
def sampled_distillation(name, options):
    x = logp.clone().requires_grad_(True)
    logits = torch.stack([x, torch.log(-torch.expm1(x))], -1)
    self = types.SimpleNamespace(temperature=1.0, iw_opd_gamma=options.get("prefix_weight", 0.5), iw_opd_epsilon=1e-8,
                                 model=types.SimpleNamespace(training=True),
                                 _metrics={"train": collections.defaultdict(list)})
    tokens = torch.zeros(B, T, dtype=torch.long)
    loss = IWOPDTrainer._compute_iw_opd_loss(self, logits, tokens, torch.where(mask, tokens, -100), ref, old)
    kept = {"teacher_advantage": float(self._metrics["train"]["iw_opd/mean_advantage"][-1]),
            "prefix_weight": float(self._metrics["train"]["iw_opd/mean_weight"][-1])}
    keep(name, {"type": "sampled_distillation", **options}, loss, x, kept)


sampled_distillation("sampled distillation", {})
sampled_distillation("sampled distillation, amplified", {"prefix_weight": 2.0})


# ---- verl
def covariance(name, options):
    o = options
    x = logp.clone().requires_grad_(True)
    ratio, a, m = (x - old).exp(), advantage[:, None].expand(B, T), mask.to(torch.float64)
    n = m.sum()
    cov = (a - (a * m).sum() / n) * (x.detach() - (x.detach() * m).sum() / n)
    count = max(int(o["share"] * n), 1)
    if o["variant"] == "clip_cov":
        first, second = -a * ratio, -a * ratio.clamp(0.8, 1.2)
        clipped = (second > first) & mask
        able = mask & (cov > o["cov_low"]) & (cov < o["cov_high"]) & ~clipped
        correction = torch.ones(B, T)
        at = cov.masked_fill(~able, -torch.inf).flatten().topk(min(count, int(able.sum()))).indices
        correction.view(-1)[at] = 0
        loss = (torch.maximum(first, second) * correction * m).sum() / n
    else:
        each = -a * ratio
        at = cov.masked_fill(~mask, -torch.inf).flatten().topk(count).indices
        penalty = torch.zeros(B, T)
        penalty.view(-1)[at] = o["kl_weight"]
        loss = ((each + penalty * (x - old).abs()) * m).sum() / n
    keep(name, {"type": "covariance", **o}, loss, x)


covariance("clip_cov", {"variant": "clip_cov", "share": 0.2, "cov_low": 0.05, "cov_high": 5.0})
covariance("kl_cov", {"variant": "kl_cov", "share": 0.3, "kl_weight": 0.7})
x = logp.clone().requires_grad_(True)
each = x * advantage[:, None] - 0.5 * 0.4 * (x - old) ** 2
keep("dro", {"type": "dro", "beta": 0.4}, -(each * mask).sum() / mask.sum(), x)

# ---- divergences of whole distributions
student = torch.randn(4, 7, generator=g)
teacher = torch.randn(4, 7, generator=g)
divergences = []
for beta in [0.0, 0.3, 0.5, 1.0]:
    x = student.clone().requires_grad_(True)
    each = torch.stack([GKDTrainer.generalized_jsd_loss(x[i].view(1, 1, -1), teacher[i].view(1, 1, -1), beta=beta)
                        for i in range(4)])
    each.sum().backward()
    divergences.append({"beta": beta, "value": plain(each), "grad": plain(x.grad)})

out = {
    "versions": {"trl": trl.__version__, "torch": torch.__version__},
    "batch": {"logp": plain(logp), "old_logp": plain(old), "ref_logp": plain(ref), "mask": plain(mask.long()),
              "advantage": plain(advantage), "reward": plain(reward), "optimal_value": plain(optimal),
              "score": plain(score), "margin": plain(margin)},
    "cases": cases,
    "divergences": {"student": plain(student), "teacher": plain(teacher), "cases": divergences},
}
with open(sys.argv[1], "w") as f:
    json.dump(out, f, separators=(",", ":"))
print(len(cases), "losses,", len(divergences), "divergences")

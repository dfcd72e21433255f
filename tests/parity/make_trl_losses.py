"""Losses, gradients, metrics and advantages of TRL's own trainers on small float64 tensors.

usage: python tests/parity/make_trl_losses.py tests/parity/data/trl/losses.json      (needs trl 1.16)

The losses come from the trainers' `_compute_loss`, called on a stand-in for the trainer. Advantages and the sampler's
importance ratio are a few lines in the middle of a long method: those lines are cut out of TRL's source and run.
Options are written under rft's names. `totals` translates gradient accumulation: TRL divides a micro-batch's loss by the
number of micro-batches, rft by the rows or tokens of all of them.
"""
import collections
import inspect
import json
import math
import os
import sys
import textwrap
import types

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import torch
import trl
from transformers.loss.loss_utils import ForCausalLMLoss
from trl.experimental.gmpo.gmpo_trainer import GMPOTrainer
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.kto_trainer import KTOTrainer
from trl.trainer.rloo_trainer import RLOOTrainer
from trl.trainer.utils import nanstd

torch.set_default_dtype(torch.float64)
VARIANTS = ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "sapo", "vespo", "cispo"]
MAX_LENGTH = 8


def plain(x):
    if isinstance(x, torch.Tensor):
        return plain(x.detach().tolist())
    if isinstance(x, (list, tuple)):
        return [plain(y) for y in x]
    return None if isinstance(x, float) and math.isnan(x) else x


class Accelerator:
    num_processes, process_index, sync_gradients = 1, 0, True
    device = torch.device("cpu")

    def gather(self, x):
        return x if x.dim() else x.unsqueeze(0)

    gather_for_metrics = gather

    def reduce(self, x, reduction="sum"):
        return x

    def pad_across_processes(self, x, dim=0, pad_index=0):
        return x


# ---- one batch: 6 rows, 5 tokens, with clipped ratios on both sides, a row of one token and entropies far apart
g = torch.Generator().manual_seed(1234)
B, T = 6, 5
old = -torch.randn(B, T, generator=g).abs() - 0.1
logp = old + 0.4 * torch.randn(B, T, generator=g)
ref = old + 0.3 * torch.randn(B, T, generator=g)
sampler = old + 0.25 * torch.randn(B, T, generator=g)
sampler[2, 1] = math.nan  # the sampler could not score this token
entropy = torch.randn(B, T, generator=g).abs()
mask = (torch.arange(T) < torch.tensor([5, 3, 4, 1, 5, 2])[:, None]).long()
mask[0, 2] = 0  # a tool's token
advantage = torch.tensor([1.2, -0.7, 0.4, -0.9, 0.0, 2.0])
truncated = torch.tensor([False, False, True, False, True, False])


def trainer(options, accumulation=1, steps_per_generation=1, ratio=None):
    o = dict(options)
    low = o.get("clip_low", 0.2)
    weight = o.get("entropy_weight", 0.0)
    adaptive = o.get("entropy_adaptive", False)
    args = types.SimpleNamespace(
        delta=o.get("clip_delta"), use_bias_correction_kl=o.get("kl_ratio_correction", True),
        sapo_temperature_pos=o.get("sapo_tau_pos", 1.0), sapo_temperature_neg=o.get("sapo_tau_neg", 1.05),
        vespo_k_pos=o.get("vespo_k_pos", 2.0), vespo_lambda_pos=o.get("vespo_lambda_pos", 3.0),
        vespo_k_neg=o.get("vespo_k_neg", 3.0), vespo_lambda_neg=o.get("vespo_lambda_neg", 2.0),
        steps_per_generation=steps_per_generation, entropy_target=o.get("entropy_target", 0.2),
        entropy_coef_delta=o.get("entropy_weight_delta", 0.005), entropy_coef_min=o.get("entropy_weight_min", 0.0),
        entropy_coef_max=o.get("entropy_weight_max", 1.0))
    self = types.SimpleNamespace(
        args=args, accelerator=Accelerator(), model=types.SimpleNamespace(training=True), loss_type=o.get("variant", "dapo"),
        beta=o.get("kl_weight", 0.0), importance_sampling_level=o.get("ratio_level", "token"), epsilon_low=low,
        epsilon_high=o.get("clip_high", low), top_entropy_quantile=o.get("entropy_quantile", 1.0),
        off_policy_mask_threshold=o.get("off_policy_threshold"), use_vllm=ratio is not None,
        vllm_importance_sampling_correction=ratio is not None, current_gradient_accumulation_steps=accumulation,
        max_completion_length=o.get("max_completion_length"), aux_loss_enabled=False, router_aux_loss_coef=0.0,
        _entropy_bonus_enabled=weight != 0 or adaptive, use_adaptive_entropy=adaptive, entropy_coef=weight,
        _last_world_entropy=math.inf, _entropy_window_stats=None, _metrics={"train": collections.defaultdict(list)})
    self.get_off_policy_mask = GRPOTrainer.get_off_policy_mask
    self.get_gamma_weights = GRPOTrainer.get_gamma_weights
    self.get_high_entropy_mask = types.MethodType(GRPOTrainer.get_high_entropy_mask, self)
    return self


def compute(cls, self, extra, with_old=True, m=mask, h=entropy):
    x = logp.clone().requires_grad_(True)
    e = h.clone().requires_grad_(True)
    self._get_per_token_logps_and_entropies = lambda *a, **k: (x, e, None)
    inputs = dict(
        prompt_ids=torch.ones(B, 2, dtype=torch.long), prompt_mask=torch.ones(B, 2, dtype=torch.long),
        completion_ids=torch.ones(B, T, dtype=torch.long), completion_mask=m, advantages=advantage,
        ref_per_token_logps=ref, num_items_in_batch=m.sum(), **extra)
    if with_old:
        inputs["old_per_token_logps"] = old
    loss = cls._compute_loss(self, None, inputs)
    loss.backward()
    metrics = {k: float(v[-1]) for k, v in self._metrics["train"].items()}
    skipped = ("_min", "_max")  # not means: they can't be added up over micro-batches
    out = {"loss": loss.item(), "grad_logp": plain(x.grad),
           "metrics": {k: v for k, v in metrics.items() if not k.endswith(skipped)}}
    if e.grad is not None:
        out["grad_entropy"] = plain(e.grad)
    return out


def lines_of(method, first, last):
    """The lines of TRL's source from the one that starts with `first` to the one before `last`."""
    lines = inspect.getsource(method).splitlines()
    begin = next(i for i, l in enumerate(lines) if l.strip().startswith(first))
    end = next(i for i, l in enumerate(lines) if i > begin and l.strip().startswith(last))
    return compile(textwrap.dedent("\n".join(lines[begin:end])), method.__qualname__, "exec")


def sampler_ratio(options):
    code = lines_of(GRPOTrainer._generate_and_score_completions, "mask = completion_mask if tool_mask is None",
                    "# Compute the per-token log probabilities for the reference model")
    self = types.SimpleNamespace(
        vllm_importance_sampling_mode=options["sampler_correction"],
        vllm_importance_sampling_clip_max=options.get("sampler_correction_max", 3.0),
        vllm_importance_sampling_clip_min=options.get("sampler_correction_min"))
    scope = dict(self=self, torch=torch, math=math, completion_mask=mask, tool_mask=None, old_per_token_logps=old,
                 sampling_per_token_logps=sampler)
    exec(code, scope)
    return scope["vllm_importance_sampling_ratio"]


cases = {}


def add(name, options, totals=None, accumulation=1, steps_per_generation=1, with_old=True):
    if options.get("variant") == "dr_grpo":
        options = {**options, "max_completion_length": MAX_LENGTH}
    extra, ratio, m = {}, None, mask
    if options.get("sampler_correction"):
        ratio = extra["importance_sampling_ratio"] = sampler_ratio(options)
    if ratio is not None or options.get("off_policy_threshold") is not None:
        extra["sampling_per_token_logps"] = sampler
    if options.get("mask_truncated_completions"):
        m = mask * ~truncated[:, None]
    self = trainer(options, accumulation, steps_per_generation, ratio)
    case = {"options": {"type": "grpo", **options}, **compute(GRPOTrainer, self, extra, with_old, m)}
    if options.get("mask_truncated_completions"):
        case["metrics"].pop("vespo/phi_seq_mean", None)  # TRL counts rows without tokens, as phi = 1; rft leaves them out
    if totals:
        case["totals"] = totals
    if not with_old:
        case["no_old_logp"] = True
    cases[name] = case


add("defaults", {})
add("defaults, on policy", {}, with_old=False)
for v in VARIANTS:
    high = {"clip_high": 1.3} if v == "cispo" else {}
    add(v, {"variant": v, **high})
    add(f"{v} sequence", {"variant": v, "ratio_level": "sequence", **high})
    add(f"{v} kl", {"variant": v, "kl_weight": 0.04, **high})
    add(f"{v} sequence kl uncorrected",
        {"variant": v, "ratio_level": "sequence", "kl_weight": 0.04, "kl_ratio_correction": False, **high})
    add(f"{v} truncated masked, bonus", {"variant": v, "mask_truncated_completions": True, "entropy_weight": 0.01, **high})
    add(f"{v} token_truncate", {"variant": v, "sampler_correction": "token_truncate", "sampler_correction_max": 1.2,
                                "sampler_correction_min": 0.9, **high})
add("cispo, cap of its default", {"variant": "cispo"})
add("clip_high", {"clip_high": 0.28})
add("clip_delta", {"clip_delta": 1.15, "kl_weight": 0.04})
add("entropy_quantile", {"entropy_quantile": 0.4})
add("entropy_quantile with bonus", {"entropy_quantile": 0.3, "entropy_weight": 0.02, "variant": "grpo"})
add("entropy_weight", {"entropy_weight": 0.01, "variant": "grpo"})
add("off_policy_threshold", {"off_policy_threshold": 0.05})
add("sapo temperatures", {"variant": "sapo", "sapo_tau_pos": 0.7, "sapo_tau_neg": 1.3})
add("vespo shape", {"variant": "vespo", "vespo_k_pos": 1.5, "vespo_lambda_pos": 2.5, "vespo_k_neg": 2.0,
                    "vespo_lambda_neg": 1.0})
for mode in ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]:
    add(f"{mode} defaults", {"sampler_correction": mode})
    add(f"{mode} tight", {"sampler_correction": mode, "sampler_correction_max": 1.2, "sampler_correction_min": 0.8})
add("vespo sequence_mask", {"variant": "vespo", "sampler_correction": "sequence_mask", "sampler_correction_max": 1.2})
# 4 micro-batches of B rows each: TRL divides this one's mean over rows by 4, rft its sum by 4 B.
add("grpo accumulation 4", {"variant": "grpo"}, {"rows": 4 * B, "tokens": 0.0}, accumulation=4)
add("dr_grpo accumulation 2", {"variant": "dr_grpo"}, {"rows": 2 * B, "tokens": 0.0}, accumulation=2)
# dapo divides by the tokens of the generation batch (here N), scaled to one optimizer step: N * 4 / 8.
add("dapo accumulation 4 of 8", {}, {"rows": B, "tokens": mask.sum().item() * 4 / 8}, accumulation=4,
    steps_per_generation=8)

# ---- GMPO and RLOO
for name, o in {"gmpo": {}, "gmpo options": {"clip_low": 0.1, "clip_high": 0.3, "kl_weight": 0.05},
                "gmpo entropy_quantile": {"entropy_quantile": 0.5}}.items():
    self = trainer({"variant": "grpo", "clip_low": 0.4, **o})
    cases[name] = {"options": {"type": "gmpo", **o}, **compute(GMPOTrainer, self, {})}
for name, o in {"rloo": {}, "rloo options": {"clip_low": 0.1, "clip_high": 0.5}}.items():
    self = trainer(o)
    cases[name] = {"options": {"type": "rloo", **o},
                   **compute(RLOOTrainer, self, {"old_logps": (old * mask).sum(1)})}

# ---- adaptive entropy: what the loss is at each of several steps
adaptive = {"variant": "dapo", "entropy_adaptive": True, "entropy_weight": 0.1, "entropy_weight_delta": 0.03,
            "entropy_target": 0.5, "entropy_weight_max": 0.12, "entropy_weight_min": 0.02}
self, steps = trainer(adaptive), []
for factor in [0.3, 0.5, 0.4, 2.0, 3.0, 2.0, 2.0, 2.0, 0.1, 0.1]:
    loss = compute(GRPOTrainer, self, {}, h=factor * entropy)["loss"]
    steps.append({"entropy_factor": factor, "loss": loss, "entropy_coef_after": self.entropy_coef})

# ---- supervised: transformers' own loss on logits
logits = torch.randn(3, 6, 7, generator=g, requires_grad=True)
labels = torch.tensor([[-100, -100, 3, 1, 6, -100], [-100, 2, 2, 0, 5, 4], [-100, -100, -100, 1, -100, -100]])
sft_loss = ForCausalLMLoss(logits, labels, vocab_size=7, num_items_in_batch=(labels != -100).sum())
token_logp = torch.log_softmax(logits[:, :-1], -1).gather(-1, labels[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)
sft = {"logp": plain(token_logp), "mask": plain((labels[:, 1:] != -100).long()), "loss": sft_loss.item()}

# ---- advantages
rewards = torch.tensor([[1.0, 0.2], [0.0, 0.9], [0.5, math.nan], [0.25, 0.1], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0],
                        [math.nan, math.nan], [0.3, 0.7], [math.nan, 0.4], [0.0, 0.0],
                        [math.nan, math.nan], [0.6, 0.6], [math.nan, math.nan], [math.nan, math.nan]])
weights, G = torch.tensor([1.0, 0.5]), 4
N = len(rewards)
a_old, a_ref = -torch.rand(N, 3, generator=g), -torch.rand(N, 3, generator=g)
a_mask = (torch.arange(3) < torch.randint(1, 4, (N, 1), generator=g)).long()


def advantages(cls, **settings):
    code = lines_of(cls._generate_and_score_completions, "unscorable_mask = torch.isnan", "# Slice to keep only the local")
    self = types.SimpleNamespace(reward_weights=weights, reward_funcs=[0, 1], beta=0.0, reward_clip_range=None,
                                 normalize_advantages=False, **settings.pop("fixed", {}))
    self.__dict__.update(settings)
    scope = dict(self=self, torch=torch, nanstd=nanstd, rewards_per_func=rewards, num_generations=G, device="cpu",
                 gather=lambda x: x, old_per_token_logps=a_old, ref_per_token_logps=a_ref, completion_mask=a_mask)
    exec(code, scope)
    return {"advantage": plain(scope["advantages"]), "frac_reward_zero_std": scope["is_std_zero"].double().mean().item()}


credits = {}
for scale in ["group", "batch", "none"]:
    credits[f"scale {scale}"] = {"options": {"type": "group_normalized", "scale": scale}, **advantages(
        GRPOTrainer, scale_rewards=scale, multi_objective_aggregation="sum_then_normalize")}
credits["normalize_then_sum"] = {
    "options": {"type": "group_normalized", "aggregation": "normalize_then_sum"},
    **advantages(GRPOTrainer, scale_rewards="group", multi_objective_aggregation="normalize_then_sum")}
for name, o in {"rloo": {"kl_weight": 0.0}, "rloo kl": {"kl_weight": 0.05},
                "rloo clip, kl, normalize": {"kl_weight": 0.2, "reward_clip": [0.2, 0.9], "normalize": True}}.items():
    credits[name] = {"options": {"type": "leave_one_out", **o}, **advantages(
        RLOOTrainer, beta=o["kl_weight"], reward_clip_range=o.get("reward_clip"), normalize_advantages=o.get("normalize", False))}
total = (rewards * weights).nansum(1)
total[rewards.isnan().all(1)] = math.nan

# ---- preferences: 4 pairs of answers of different lengths, and 8 answers with a verdict
P, S = 4, 6
g = torch.Generator().manual_seed(77)
spans = torch.tensor([[1, 6], [2, 5], [0, 3], [3, 4], [0, 4], [2, 6], [1, 6], [1, 3]])
pref_mask = ((torch.arange(S) >= spans[:, :1]) & (torch.arange(S) < spans[:, 1:])).long()
pref_logp = (-torch.randn(2 * P, S, generator=g).abs() - 0.05) * pref_mask
pref_ref = (pref_logp + 0.6 * torch.randn(2 * P, S, generator=g)) * pref_mask
pref_entropy = torch.randn(2 * P, S, generator=g).abs()
label = torch.tensor([1, 0, 1, 1, 0, 0, 1, 0])
kl_mask = (torch.arange(5) < torch.tensor([5, 2, 3, 1, 4, 5, 2, 3])[:, None]).long()
kl_logp = -torch.randn(2 * P, 5, generator=g).abs() * kl_mask
kl_ref = (kl_logp - 0.2 + 0.4 * torch.randn(2 * P, 5, generator=g)) * kl_mask


class Answers(torch.nn.Module):
    """What TRL asks of a model: per-token numbers of given answers."""
    is_gradient_checkpointing = False

    def __init__(self, log_probs):
        super().__init__()
        self.answers = types.SimpleNamespace(
            log_probs=log_probs, entropy=pref_entropy, mean_logits=torch.zeros(2 * P, S),
            is_top1=torch.ones(2 * P, S, dtype=torch.bool), log_sum_sq_probs=torch.zeros(2 * P, S), aux_loss=None)

    def gradient_checkpointing_disable(self):
        pass

    def forward(self, **_):
        return self.answers


def preference(cls, options, type_, inputs, dtype=torch.float64, **settings):
    x = pref_logp.to(dtype).clone().requires_grad_(True)
    self = types.SimpleNamespace(
        args=types.SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=options.get("discopop_tau", 0.05)),
        accelerator=Accelerator(), model=Answers(x), ref_model=Answers(pref_ref.to(dtype)), aux_loss_enabled=False,
        beta=options.get("beta", 0.1), _metrics={"train": collections.defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        **settings)
    if cls is KTOTrainer:
        self._compute_kl_logps = lambda model, batch: (kl_logp if model is self.model else kl_ref).sum(1)
    # One prompt token stands before what the mask, shifted by one, covers.
    ids = torch.ones(2 * P, S + 1, dtype=torch.long)
    full_mask = torch.cat([torch.zeros(2 * P, 1, dtype=torch.long), pref_mask], 1)
    loss = cls._compute_loss(self, self.model, dict(input_ids=ids, attention_mask=ids, completion_mask=full_mask, **inputs), False)
    loss.backward()
    kept = ("rewards/", "logps/", "entropy", "kl")
    metrics = {k: float(v[-1]) for k, v in self._metrics["train"].items() if k.startswith(kept)}
    return {"options": {"type": type_, **options}, "loss": loss.item(), "grad_logp": plain(x.grad), "metrics": metrics}


preferences = {}


def add_dpo(name, options, dtype=torch.float64):
    o, variant = options, options.get("variant", "sigmoid")
    variants = [variant] if isinstance(variant, str) else variant
    preferences[name] = preference(
        DPOTrainer, o, "dpo", {}, dtype, precompute_ref_logps=False, ld_alpha=o.get("ld_alpha"), loss_types=variants,
        loss_weights=o.get("loss_weights") or [1.0] * len(variants), f_divergence_type=o.get("f_divergence", "reverse_kl"),
        f_alpha_divergence_coef=o.get("f_alpha", 0.5), label_smoothing=o.get("label_smoothing", 0.0), use_weighting=o.get("weighting", False))
    if dtype != torch.float64:
        preferences[name]["float32"] = True


SCORED = ["sigmoid", "sigmoid_norm", "hinge", "ipo", "robust", "discopop", "sft", "exo_pair"]
for v in SCORED + ["nca_pair", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero", "apo_down"]:
    smooth = {"label_smoothing": 0.01} if v == "exo_pair" else {}
    add_dpo(f"dpo {v}", {"variant": v, **smooth})
    add_dpo(f"dpo {v} options", {"variant": v, "beta": 0.35, "label_smoothing": 0.15, "ld_alpha": 0.4})
for v in SCORED:
    for f in ["forward_kl", "js_divergence"]:
        add_dpo(f"dpo {v} {f}", {"variant": v, "f_divergence": f, "label_smoothing": 0.1})
for a in [0.5, 1.0, 1.7]:  # TRL computes alpha_divergence in float32
    add_dpo(f"dpo alpha {a}", {"f_divergence": "alpha_divergence", "f_alpha": a, "beta": 0.2}, torch.float32)
add_dpo("dpo discopop tau", {"variant": "discopop", "discopop_tau": 0.7})
add_dpo("dpo mpo", {"variant": ["sigmoid", "bco_pair", "sft"], "loss_weights": [0.8, 0.2, 1.0]})
# log_sum_sq_probs is 0: pairs are weighed without WPO's alignment.
add_dpo("dpo weighting", {"beta": 0.35, "weighting": True})
add_dpo("dpo weighting mixture", {"variant": ["ipo", "apo_zero"], "loss_weights": [0.7, 0.3], "weighting": True})
add_dpo("dpo two", {"variant": ["aot", "ipo"], "beta": 0.5})
for name, o in {"kto": {}, "kto options": {"beta": 0.4, "desirable_weight": 0.7, "undesirable_weight": 1.33},
                "kto zero": {"reference_point": "zero"}, "apo_zero_unpaired": {"variant": "apo_zero_unpaired", "beta": 0.3}}.items():
    judged = "reference_point" not in o and "variant" not in o
    preferences[name] = preference(
        KTOTrainer, o, "kto", {"label": label}, precompute_ref_logps=False, calculate_KL=judged,
        loss_type=o.get("variant", "kto"), desirable_weight=o.get("desirable_weight", 1.0),
        undesirable_weight=o.get("undesirable_weight", 1.0))

out = {
    "versions": {"trl": trl.__version__, "torch": torch.__version__},
    "batch": {"old_logp": plain(old), "logp": plain(logp), "ref_logp": plain(ref), "sampling_logp": plain(sampler),
              "entropy": plain(entropy), "mask": plain(mask), "advantage": plain(advantage),
              "truncated": plain(truncated.long())},
    "cases": cases,
    "adaptive": {"options": {"type": "grpo", **adaptive}, "steps": steps},
    "sft": sft,
    "preference": {
        "batch": {"logp": plain(pref_logp), "ref_logp": plain(pref_ref), "mask": plain(pref_mask), "entropy": plain(pref_entropy),
                  "label": plain(label), "kl_logp": plain(kl_logp), "kl_ref_logp": plain(kl_ref), "kl_mask": plain(kl_mask)},
        "cases": preferences},
    "credit": {"components": plain(rewards), "weights": plain(weights), "reward": plain(total),
               "group": [i // G for i in range(N)], "logp": plain(a_old), "ref_logp": plain(a_ref), "mask": plain(a_mask),
               "reward_mean": torch.nanmean(total).item(), "reward_std": nanstd(total).item(), "cases": credits},
}
with open(sys.argv[1], "w") as f:
    json.dump(out, f, separators=(",", ":"))
print(len(cases) + len(preferences), "losses,", len(credits), "credits")

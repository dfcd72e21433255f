"""Writes tests/parity/data/schedulers/: runs of diffusers' schedulers, and of flow SDEs from their formulas.

    python tests/parity/make_schedulers.py tests/parity/data/schedulers

cases.json: {"runs": [{"name", "config", "as", "steps", "eta", "sde", "tokens", "channels"}], "forward": [...]}.
runs.safetensors: "noise" [2, 3, 4, 4] and "step_noise" [50, 2, 3, 4, 4], standard normal; for each run NAME.states
[3, 2, 3, 4, 4], the samples after its first, middle (steps // 2) and last step, and NAME.plan [3, steps + 1]:
timesteps, sigmas (both padded with 0; sigmas all 0 where there are none), standard deviations, and [0, -1] the factor
of the first noise. Of flow SDEs also NAME.logp [steps, 2], summed over dimensions. forward.safetensors: NAME.noisy and
NAME.velocity [4, 3, 2, 2] of "clean" and "noise" at "timesteps".

The model is answer(x, t) = 0.7 tanh(x) + 0.2 sin(2 x + t / 100); where it predicts variances, what `variances` says.
"""
import copy
import importlib
import json
import math
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import diffusers
import numpy as np
import torch
from safetensors.torch import save_file

diffusers.utils.logging.set_verbosity_error()
CLASSES = {"ddim": "DDIMScheduler", "ddpm": "DDPMScheduler", "euler": "EulerDiscreteScheduler",
           "euler_ancestral": "EulerAncestralDiscreteScheduler", "dpmsolver++": "DPMSolverMultistepScheduler",
           "pndm": "PNDMScheduler", "lcm": "LCMScheduler", "flow_match_euler": "FlowMatchEulerDiscreteScheduler"}
SPACINGS, PREDICTIONS, STEPS = ("leading", "linspace", "trailing"), ("epsilon", "sample", "v_prediction"), (10, 20, 50)
torch.manual_seed(7)
NOISE, STEP_NOISE = torch.randn(2, 3, 4, 4), torch.randn(50, 2, 3, 4, 4)
runs, forwards, tensors, forward_tensors = [], [], {"noise": NOISE, "step_noise": STEP_NOISE}, {}


def answer(x, t):
    return 0.7 * torch.tanh(x) + 0.2 * torch.sin(2 * x + t / 100)


def variances(x, channels):
    return {"mean": [], "learned": [0.01 + 0.02 * torch.sin(x) ** 2], "learned_range": [torch.sin(x)]}[channels]


def given_noise(scheduler, z):
    """Has the scheduler's module draw `z`."""
    importlib.import_module(type(scheduler).__module__).randn_tensor = lambda *a, **b: z


def one_step(scheduler, output, t, x, z, eta):
    given_noise(scheduler, z)
    if type(scheduler).__name__ == "DDIMScheduler":
        return scheduler.step(output, t, x, eta=eta, variance_noise=z).prev_sample
    return scheduler.step(output, t, x).prev_sample


def keep(name, states, timesteps, sigmas, stds, factor):
    n = len(timesteps)
    plan = torch.zeros(3, n + 1, dtype=torch.float64)
    plan[0, :n] = torch.tensor([float(t) for t in timesteps])
    if sigmas is not None:
        plan[1] = sigmas.double()
    plan[2, :n], plan[0, n] = torch.tensor(stds, dtype=torch.float64), factor
    tensors[f"{name}.plan"] = plan.float()
    tensors[f"{name}.states"] = torch.stack([states[0], states[n // 2], states[-1]])


def add_run(config, steps, name="", eta=0.0, tokens=0, channels="mean"):
    """`config` is scheduler_config.json; `name` the scheduler that runs it, "" its own."""
    case = f"run{len(runs):03d}"
    cls = getattr(diffusers, CLASSES[name] if name else config["_class_name"])
    scheduler = cls.from_config(config)
    if config.get("use_dynamic_shifting"):  # FluxPipeline.__call__ and calculate_shift
        slope = (scheduler.config.max_shift - scheduler.config.base_shift) / (
            scheduler.config.max_image_seq_len - scheduler.config.base_image_seq_len)
        mu = tokens * slope + scheduler.config.base_shift - slope * scheduler.config.base_image_seq_len
        scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=mu)
    else:
        scheduler.set_timesteps(steps)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else runs whose first timesteps are equal start at the second
    factor = float(getattr(scheduler, "init_noise_sigma", 1.0))
    x, states, stds = NOISE * factor, [], []
    for i, t in enumerate(scheduler.timesteps):
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = torch.cat([answer(scaled, float(t)), *variances(scaled, channels)], dim=1)
        one, zero = (one_step(copy.deepcopy(scheduler), output, t, x, z, eta) for z in (torch.ones_like(x), torch.zeros_like(x)))
        stds.append(float((one - zero).abs().max()))
        x = one_step(scheduler, output, t, x, STEP_NOISE[i], eta)
        states.append(x)
    assert all(bool(s.isfinite().all()) for s in states), (config, steps)
    sigmas = scheduler.sigmas if hasattr(scheduler, "sigmas") else None
    keep(case, states, scheduler.timesteps, sigmas, stds, factor)
    runs.append({"name": case, "config": config, "as": name, "steps": steps, "eta": eta, "sde": "default",
                 "tokens": tokens, "channels": channels})


def flow_grpo(x, v, s, n, s1, eta):
    """flow_grpo, sd3_sde_with_logprob.py: drift and diffusion of the reverse SDE, Liu et al. 2025 (2505.05470)."""
    dt = n - s
    g = math.sqrt(s / (1 - (s1 if s == 1 else s))) * eta
    return x * (1 + g * g / (2 * s) * dt) + v * (1 + g * g * (1 - s) / (2 * s)) * dt, g * math.sqrt(-dt)


def dance(x, v, s, n, s1, eta):
    """DanceGRPO, fastvideo/train_grpo_flux.py: dx = (v - eta^2 / 2 score) d sigma + eta dw (2505.07818)."""
    clean = x - v * s
    score = -(x - clean * (1 - s)) / s ** 2
    return x + (v - 0.5 * eta ** 2 * score) * (n - s), eta * math.sqrt(s - n)


def cps(x, v, s, n, s1, eta):
    """Coefficients-preserving sampling (2509.05952): a DDIM-like step with std = n sin(eta pi / 2)."""
    std = n * math.sin(eta * math.pi / 2)
    return (1 - n) * (x - s * v) + math.sqrt(max(n * n - std * std, 0)) * (x + (1 - s) * v), std


def add_sde(sde, config, steps, eta):
    case = f"run{len(runs):03d}"
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
    scheduler.set_timesteps(steps)
    levels = scheduler.sigmas.double().tolist()
    x, states, stds, logps = NOISE.double(), [], [], []
    for i, t in enumerate(scheduler.timesteps):
        mean, std = globals()[sde](x, answer(x, float(t)), levels[i], levels[i + 1], levels[1], eta)
        x = mean + std * STEP_NOISE[i].double()
        logps.append(torch.distributions.Normal(mean, std).log_prob(x).sum((1, 2, 3)) if std > 0 else torch.zeros(2))
        states.append(x), stds.append(std)
    keep(case, states, scheduler.timesteps, scheduler.sigmas, stds, 1.0)
    tensors[f"{case}.logp"] = torch.stack(logps).double()
    runs.append({"name": case, "config": config, "as": "", "steps": steps, "eta": eta, "sde": sde, "tokens": 0,
                 "channels": "mean"})


def add_forward(name, config):
    case = f"forward{len(forwards):02d}"
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    t = forward_tensors["timesteps"].long()
    clean, noise = forward_tensors["clean"], forward_tensors["noise"]
    forward_tensors[f"{case}.noisy"] = scheduler.add_noise(clean, noise, t)
    forward_tensors[f"{case}.velocity"] = scheduler.get_velocity(clean, noise, t)
    forwards.append({"name": case, "config": config})


def class_config(name, **fields):
    return {"_class_name": CLASSES[name], **fields}


def discrete_runs():
    for spacing in SPACINGS:
        for prediction in PREDICTIONS:
            both = {"timestep_spacing": spacing, "prediction_type": prediction}
            for k, steps in enumerate(STEPS):
                for eta in (0.0, 0.4, 1.0):
                    add_run(class_config("ddim", **both, clip_sample=eta == 0.4), steps, eta=eta)
                add_run(class_config("ddpm", **both, variance_type=("fixed_small", "fixed_large", "fixed_small_log")[k]), steps)
                add_run(class_config("ddpm", **both, clip_sample=False, variance_type=("fixed_large", "fixed_small_log", "fixed_small")[k]), steps)
                add_run(class_config("euler", **both), steps)
                add_run(class_config("dpmsolver++", **both), steps)
                if prediction != "sample":
                    add_run(class_config("euler_ancestral", **both), steps)
    for prediction in PREDICTIONS:
        for steps in (1, 4, 10, 50):
            add_run(class_config("lcm", prediction_type=prediction), steps)


def schedule_runs():
    """Noise schedules and other fields, each at another number of steps."""
    sd = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    betas = torch.linspace(1e-3, 0.03, 100).double().tolist()
    for k, fields in enumerate((sd, {"beta_schedule": "squaredcos_cap_v2"}, {"num_train_timesteps": 100, "trained_betas": betas},
                                {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction", "timestep_spacing": "trailing"})):
        steps = (20, 10, 50, 7)[k]
        for name in ("ddim", "ddpm", "euler", "euler_ancestral", "dpmsolver++"):
            # From a sigma of 20000 diffusers' sqrt(to^2 - up^2) of ancestral steps is float32 rounding alone.
            start = {"timestep_spacing": "leading"} if name == "euler_ancestral" else {}
            add_run(class_config(name, **{"prediction_type": "v_prediction", **fields, **start}), steps, eta=float(name == "ddim"))
    old = {**sd, "steps_offset": 1, "set_alpha_to_one": False, "clip_sample": False, "skip_prk_steps": True, "trained_betas": None}
    for steps in STEPS:
        add_run(class_config("ddim", **old), steps, eta=0.7)
        for name in ("ddim", "ddpm", "euler", "euler_ancestral", "dpmsolver++", "lcm"):
            add_run({"_class_name": "PNDMScheduler", **old}, steps, name=name)
        add_run(class_config("ddim", clip_sample_range=2.5), steps, eta=1.0)
        add_run(class_config("ddpm", variance_type="learned_range", timestep_spacing="trailing"), steps, channels="learned_range")
        add_run(class_config("ddpm", variance_type="learned_range", clip_sample=False), steps, channels="learned_range")
        add_run(class_config("ddpm", variance_type="learned"), steps, channels="learned")
        add_run(class_config("ddim", **sd, num_train_timesteps=400), steps, name="ddpm")
        for name, more in (("euler", {}), ("dpmsolver++", {}), ("dpmsolver++", {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "v_prediction"})):
            add_run(class_config(name, **{**sd, **more}, use_karras_sigmas=True), steps)
            add_run(class_config(name, **{**sd, **more}, use_exponential_sigmas=True, final_sigmas_type="sigma_min"), steps)
        add_run(class_config("dpmsolver++", **sd, solver_order=1), steps)
        add_run(class_config("dpmsolver++", **sd, lower_order_final=False, final_sigmas_type="sigma_min"), steps)
        add_run(class_config("dpmsolver++", **sd, euler_at_final=True, final_sigmas_type="sigma_min", lambda_min_clipped=-5.1), steps)
        add_run(class_config("dpmsolver++", beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1, timestep_spacing="trailing"), steps)
        add_run(class_config("lcm", original_inference_steps=100, clip_sample=True, timestep_scaling=5.0), steps)


def flow_runs():
    for steps in STEPS:
        for fields in ({}, {"shift": 3.0}, {"shift": 3.0, "shift_terminal": 0.1}, {"use_karras_sigmas": True},
                       {"use_exponential_sigmas": True, "shift": 2.0}, {"stochastic_sampling": True}):
            add_run(class_config("flow_match_euler", **fields), steps)
        for tokens in (256, 1000, 4096):
            add_run(class_config("flow_match_euler", use_dynamic_shifting=True, shift=3.0), steps, tokens=tokens)
        add_run(class_config("flow_match_euler", use_dynamic_shifting=True, time_shift_type="linear", shift_terminal=0.02,
                             base_shift=0.95, max_shift=2.05), steps, tokens=2048)
        for shift in (1.0, 3.0):
            for sde, etas in (("flow_grpo", (0.3, 0.7)), ("dance", (0.3, 0.7)), ("cps", (0.5, 1.0))):
                for eta in etas:
                    add_sde(sde, class_config("flow_match_euler", shift=shift), steps, eta)


def pndm_runs():
    sd = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    for skip in (False, True):
        for spacing in SPACINGS:
            for k, prediction in enumerate(("epsilon", "v_prediction")):
                add_run(class_config("pndm", skip_prk_steps=skip, timestep_spacing=spacing, prediction_type=prediction,
                                     **(sd if k else {})), (10, 40)[k])
        add_run(class_config("pndm", skip_prk_steps=skip, set_alpha_to_one=not skip, steps_offset=1, **sd), 20)
    add_run(class_config("ddim", **sd), 5, name="pndm")
    add_run(class_config("pndm", skip_prk_steps=True), 1)
    add_run(class_config("pndm", skip_prk_steps=True), 2)


def forward_cases():
    forward_tensors.update(clean=torch.randn(4, 3, 2, 2), noise=torch.randn(4, 3, 2, 2), timesteps=torch.tensor([0.0, 1.0, 42.0, 99.0]))
    for fields in ({}, {"beta_schedule": "scaled_linear"}, {"beta_schedule": "squaredcos_cap_v2"}, {"rescale_betas_zero_snr": True}):
        for prediction in PREDICTIONS:
            for name in ("ddim", "ddpm"):
                add_forward(name, class_config(name, num_train_timesteps=100, prediction_type=prediction, **fields))


if __name__ == "__main__":
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    discrete_runs(), schedule_runs(), flow_runs(), pndm_runs(), forward_cases()
    (out / "cases.json").write_text("{\"runs\": [\n" + ",\n".join(map(json.dumps, runs)) + "\n],\n\"forward\": [\n" +
                                    ",\n".join(map(json.dumps, forwards)) + "\n]}\n")
    save_file({k: v.contiguous() for k, v in tensors.items()}, out / "runs.safetensors")
    save_file({k: v.contiguous() for k, v in forward_tensors.items()}, out / "forward.safetensors")

"""Losses and gradients of off-policy objectives on small float64 tensors.

usage: python tests/parity/make_off_policy.py tests/parity/data/off_policy.json    (needs stable-baselines3 2.9)

SAC, TD3 and DQN: Stable-Baselines3's own `train`, called on a stand-in whose networks answer with given tensors. IQL and
Cal-QL have no packaged peer: the formulas of the authors' code are written out here (ikostrikov/implicit_q_learning,
actor.py and critic.py; nakamotoo/Cal-QL, JaxCQL/conservative_sac.py).
"""
import json
import sys
import types

import torch
from stable_baselines3 import DQN, SAC, TD3

torch.set_default_dtype(torch.float64)
N, K, A, M, GAMMA = 5, 2, 3, 4, 0.97


def leaf(*shape, scale=1.0):
    return (torch.randn(*shape) * scale).requires_grad_(True)


class Optimizer:
    """Takes no step and clears no gradient: what backward() left is read afterwards."""

    param_groups = []

    def zero_grad(self):
        pass

    step = zero_grad


class Network:
    """Answers its calls in turn with the given tensors."""

    def __init__(self, *answers):
        self.answers, self.optimizer = list(answers), Optimizer()

    def __call__(self, *_):
        return self.answers.pop(0)

    action_log_prob = __call__

    def q1_forward(self, *_):
        return self.answers.pop(0)[0]

    def parameters(self):
        return []


def batch():
    return dict(reward=torch.randn(N), terminated=torch.tensor([0.0, 1.0, 0.0, 0.0, 1.0]))


def stand_in(b, **members):
    data = types.SimpleNamespace(observations=None, next_observations=None, actions=torch.zeros(N, A), discounts=None,
                                 rewards=b["reward"].unsqueeze(1), dones=b["terminated"].unsqueeze(1))
    records = {}
    return types.SimpleNamespace(
        policy=types.SimpleNamespace(set_training_mode=lambda _: None), _update_learning_rate=lambda _: None,
        replay_buffer=types.SimpleNamespace(sample=lambda *_, **__: data), _vec_normalize_env=None, gamma=GAMMA, tau=1.0,
        logger=types.SimpleNamespace(record=lambda name, value, **_: records.__setitem__(name, float(value))),
        _n_updates=0, records=records, **members)


def columns(x):
    return [x[:, k : k + 1] for k in range(x.shape[1])]


def case(name, kind, options, b, now, loss):
    inputs = {k: v.detach().tolist() for k, v in now.items()}
    grads = {k: (v.grad if v.grad is not None else torch.zeros_like(v)).tolist() for k, v in now.items() if v.requires_grad}
    return dict(name=name, type=kind, options=options, batch={k: v.tolist() for k, v in b.items()}, now=inputs,
                loss=loss, grads=grads)


def sac(temperature):
    b = batch()
    now = dict(q=leaf(N, K), actor_q=leaf(N, K), actor_logp=leaf(N), next_q=torch.randn(N, K), next_logp=torch.randn(N))
    log_alpha = torch.zeros(1).fill_(-0.3).requires_grad_(True)
    learned = temperature is None
    self = stand_in(
        b, actor=Network((torch.zeros(N, A), now["actor_logp"]), (torch.zeros(N, A), now["next_logp"])),
        critic=Network(columns(now["q"]), columns(now["actor_q"])), critic_target=Network(columns(now["next_q"])),
        ent_coef_optimizer=Optimizer() if learned else None, log_ent_coef=log_alpha if learned else None,
        ent_coef_tensor=None if learned else torch.tensor(temperature), target_entropy=-float(A), use_sde=False,
        target_update_interval=10, batch_norm_stats=[], batch_norm_stats_target=[])
    SAC.train(self, 1, N)
    options = dict(gamma=GAMMA)
    options.update(dict(initial_temperature=float(log_alpha.detach().exp())) if learned else dict(temperature=temperature))
    loss = sum(self.records.get("train/" + name, 0.0) for name in ("critic_loss", "actor_loss", "ent_coef_loss"))
    out = case("sac learned" if learned else "sac fixed", "sac", options, b, now, loss)
    out["temperature_grad"] = float(log_alpha.grad) if learned else None
    return out


def td3(trains_policy):
    b = batch()
    now = dict(q=leaf(N, K), actor_q=leaf(N, K), next_q=torch.randn(N, K))
    self = stand_in(
        b, actor=Network(None), critic=Network(columns(now["q"]), columns(now["actor_q"])),
        actor_target=Network(torch.zeros(N, A)), critic_target=Network(columns(now["next_q"])),
        target_policy_noise=0.2, target_noise_clip=0.5, policy_delay=1 if trains_policy else 2,
        critic_batch_norm_stats=[], critic_batch_norm_stats_target=[], actor_batch_norm_stats=[],
        actor_batch_norm_stats_target=[])
    self.actor.parameters = self.actor_target.parameters = lambda: []
    TD3.train(self, 1, N)
    loss = sum(self.records.get("train/" + name, 0.0) for name in ("critic_loss", "actor_loss"))
    options = dict(gamma=GAMMA, policy_delay=1 if trains_policy else 2)
    return case(f"td3 delay {options['policy_delay']}", "td3", options, b, now, loss)


def dqn():
    """Choices: what the networks answer holds `q` where the batch's action is, and `next_q` as its row's greatest."""
    b = batch()
    now = dict(q=leaf(N, 1, scale=3.0), next_q=torch.randn(N, 1))
    chosen = torch.arange(N).unsqueeze(1) % A
    answers = torch.zeros(N, A).scatter(1, chosen, now["q"])
    next_answers = (now["next_q"] - torch.rand(N, A)).scatter(1, chosen, now["next_q"])
    self = stand_in(b, q_net=Network(answers), q_net_target=Network(next_answers), max_grad_norm=1e9)
    self.policy.optimizer, self.policy.parameters = Optimizer(), lambda: []
    self.replay_buffer.sample().actions = chosen
    data = self.replay_buffer.sample()
    self.replay_buffer.sample = lambda *_, **__: data
    DQN.train(self, 1, N)
    return case("dqn", "dqn", dict(gamma=GAMMA, double_q=False), b, now, self.records["train/loss"])


def iql():
    b = batch()
    now = dict(q=leaf(N, K), value=leaf(N), logp=leaf(N), target_q=torch.randn(N, K), next_value=torch.randn(N))
    expectile, beta, cap = 0.8, 3.0, 20.0
    seen = now["target_q"].min(1).values
    ahead = seen - now["value"]
    value = (torch.where(ahead > 0, expectile, 1 - expectile) * ahead**2).mean()
    target = b["reward"] + GAMMA * (1 - b["terminated"]) * now["next_value"]
    critic = ((now["q"] - target.unsqueeze(1)) ** 2).mean(1).mean()
    weight = torch.exp(beta * ahead.detach()).clamp(max=cap)
    actor = -(weight * now["logp"]).mean()
    (value + critic + actor).backward()
    options = dict(gamma=GAMMA, expectile=expectile, beta=beta, advantage_cap=cap)
    return case("iql", "iql", options, b, now, float(value + critic + actor))


def cal_ql(calibrated):
    b = batch()
    b["returns"] = torch.randn(N)
    now = dict(q=leaf(N, K), actor_q=leaf(N, K), actor_logp=leaf(N), next_q=torch.randn(N, K), next_logp=torch.randn(N),
               sampled_q=leaf(N, K, 3 * M), sampled_logp=torch.randn(N, 3 * M))
    alpha, weight, temperature = 0.2, 5.0, 0.7
    target = b["reward"] + GAMMA * (1 - b["terminated"]) * now["next_q"].min(1).values
    critic = 0.5 * ((now["q"] - target.unsqueeze(1)) ** 2).sum(1).mean()
    actor = (alpha * now["actor_logp"] - now["actor_q"].min(1).values).mean()
    others = now["sampled_q"]
    if calibrated:
        bound = b["returns"][:, None, None].expand(N, K, 2 * M)
        others = torch.cat([others[:, :, :M], torch.maximum(others[:, :, M:], bound)], 2)
    gap = temperature * torch.logsumexp((others - now["sampled_logp"].unsqueeze(1)) / temperature, 2) - now["q"]
    loss = critic + actor + weight * gap.sum(1).mean()
    loss.backward()
    options = dict(gamma=GAMMA, temperature=alpha, cql_weight=weight, cql_temperature=temperature, cql_samples=M,
                   calibrated=calibrated)
    return case(f"cal_ql {'calibrated' if calibrated else 'plain'}", "cal_ql", options, b, now, float(loss))


if __name__ == "__main__":
    torch.manual_seed(0)
    cases = [sac(None), sac(0.2), td3(True), td3(False), iql(), cal_ql(True), cal_ql(False), dqn()]
    with open(sys.argv[1], "w") as out:
        json.dump(dict(actions=A, cases=cases), out, indent=1)

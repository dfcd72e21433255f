"""The peers' side of benchmarks/control.py: Gymnasium's and EnvPool's environments, Stable-Baselines3's PPO.

    control_sb3.py gymnasium|envpool TASK ENVIRONMENTS SECONDS THREADS    environment steps a second
    control_sb3.py iteration TASK ITERATIONS THREADS                      seconds of a PPO iteration
    control_sb3.py returns TASK SEED TIMESTEPS THREADS                    the tuned settings' return after so many steps
    control_sb3.py sac TASK SEED TIMESTEPS THREADS                        the same by SAC

Prints one JSON line.
"""
import json
import sys
import time

import numpy as np

NAMES = {"hopper": "Hopper", "half_cheetah": "HalfCheetah", "walker2d": "Walker2d", "ant": "Ant", "reacher": "Reacher",
         "pusher": "Pusher", "inverted_pendulum": "InvertedPendulum"}


def measure(step, count, seconds):
    for _ in range(20):
        step()
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        for _ in range(16):
            step()
        rounds += 16
    return {"steps_per_second": rounds * count / (time.perf_counter() - start)}


def gymnasium_steps(task, count, seconds, threads):
    import gymnasium
    kind = gymnasium.VectorizeMode.ASYNC if threads > 1 else gymnasium.VectorizeMode.SYNC
    environments = gymnasium.make_vec(f"{NAMES[task]}-v5", num_envs=count, vectorization_mode=kind)
    environments.reset(seed=0)
    actions = [environments.action_space.sample() for _ in range(64)]
    turn = iter(range(10**9))
    result = measure(lambda: environments.step(actions[next(turn) % 64]), count, seconds)
    environments.close()
    return result


def envpool_steps(task, count, seconds, threads):
    import envpool
    environments = envpool.make(f"{NAMES[task]}-v5" if f"{NAMES[task]}-v5" in envpool.list_all_envs()
                                else f"{NAMES[task]}-v4", env_type="gymnasium", num_envs=count, num_threads=threads)
    environments.reset()
    low, high = environments.action_space.low, environments.action_space.high
    actions = [np.random.uniform(low, high, (count, *low.shape)) for _ in range(64)]
    turn = iter(range(10**9))
    return measure(lambda: environments.step(actions[next(turn) % 64]), count, seconds)


def tuned(task):
    """rl-zoo3's settings for this task; v4's, v5 has none."""
    import pathlib

    import rl_zoo3
    import torch.nn as nn  # noqa: F401  (named in the settings)
    import yaml
    file = pathlib.Path(rl_zoo3.__file__).parent / "hyperparams" / "ppo.yml"
    options = yaml.safe_load(file.read_text())[f"{NAMES[task]}-v4"]
    assert options.pop("normalize") and options.pop("n_envs") == 1
    options.pop("n_timesteps")
    kwargs = options.get("policy_kwargs")
    if kwargs:
        options["policy_kwargs"] = eval(kwargs)
    return options


def model_of(task, seed, options):
    import gymnasium
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
    environment = VecNormalize(DummyVecEnv([lambda: Monitor(gymnasium.make(f"{NAMES[task]}-v5"))]),
                               gamma=options.get("gamma", 0.99))
    return PPO(env=environment, seed=seed, device="cpu", **options), environment


def iteration(task, iterations):
    options = {"policy": "MlpPolicy", "n_steps": 2048, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4}
    model, _ = model_of(task, 0, options)
    model.learn(2048)
    times = []
    for _ in range(iterations):
        start = time.perf_counter()
        model.learn(2048, reset_num_timesteps=False)
        times.append(time.perf_counter() - start)
    return {"seconds": sorted(times)[len(times) // 2]}


def returns(task, seed, timesteps):
    from stable_baselines3.common.evaluation import evaluate_policy
    model, environment = model_of(task, seed, tuned(task))
    start = time.perf_counter()
    model.learn(timesteps)
    seconds = time.perf_counter() - start
    training = float(np.mean([episode["r"] for episode in model.ep_info_buffer]))
    environment.training, environment.norm_reward = False, False
    mean, _ = evaluate_policy(model, environment, n_eval_episodes=10, deterministic=True)
    return {"seconds": seconds, "return": float(mean), "training_return": training}


def sac(task, seed, timesteps):
    """rl-zoo3's settings for HalfCheetah are SAC's defaults, and 10,000 steps at random first."""
    import gymnasium
    from stable_baselines3 import SAC
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor
    environment = Monitor(gymnasium.make(f"{NAMES[task]}-v5"))
    model = SAC("MlpPolicy", environment, seed=seed, device="cpu", learning_starts=min(10000, timesteps // 2))
    start = time.perf_counter()
    model.learn(timesteps)
    seconds = time.perf_counter() - start
    mean, _ = evaluate_policy(model, environment, n_eval_episodes=10, deterministic=True)
    return {"seconds": seconds, "return": float(mean)}


def main():
    what, task, *rest = sys.argv[1:]
    import torch
    torch.set_num_threads(int(rest[-1]))
    numbers = [int(float(x)) for x in rest]
    if what == "gymnasium":
        result = gymnasium_steps(task, numbers[0], float(rest[1]), numbers[-1])
    elif what == "envpool":
        result = envpool_steps(task, numbers[0], float(rest[1]), numbers[-1])
    elif what == "iteration":
        result = iteration(task, numbers[0])
    elif what == "sac":
        result = sac(task, numbers[0], numbers[1])
    else:
        result = returns(task, numbers[0], numbers[1])
    print(json.dumps(result))


if __name__ == "__main__":
    main()

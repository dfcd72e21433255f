"""Gymnasium's classic control tasks -> tests/parity/data/classic.safetensors: states, actions, rewards and ends.

    python tests/parity/make_classic.py
"""
import pathlib

import gymnasium
import numpy as np
from safetensors.numpy import save_file

TASKS = {"cart_pole": ("CartPole-v1", 60), "pendulum": ("Pendulum-v1", 200), "acrobot": ("Acrobot-v1", 300)}


def main():
    rng = np.random.default_rng(0)
    out = {}
    for name, (task, steps) in TASKS.items():
        env = gymnasium.make(task).unwrapped
        env.reset(seed=3)
        states, actions, rewards, ends = [np.array(env.state, dtype=np.float64)], [], [], []
        for t in range(steps):
            if hasattr(env.action_space, "n"):
                action = int(rng.integers(env.action_space.n))
                told = action
            else:
                action = rng.uniform(-3, 3)
                told = np.array([action])
            _, reward, terminated, _, _ = env.step(told)
            states.append(np.array(env.state, dtype=np.float64))
            actions.append(float(action)), rewards.append(float(reward)), ends.append(terminated)
            if terminated:
                break
        out |= {f"{name}.states": np.array(states), f"{name}.actions": np.array(actions),
                f"{name}.rewards": np.array(rewards), f"{name}.ends": np.array(ends, dtype=np.uint8)}
        print(name, len(rewards), ends[-1])
    save_file(out, pathlib.Path(__file__).parent / "data" / "classic.safetensors")


if __name__ == "__main__":
    main()

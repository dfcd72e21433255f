"""Gymnasium's classic control tasks -> tests/parity/data/classic.safetensors: states, actions, rewards and ends.

    python tests/parity/make_classic.py
"""
import pathlib

import gymnasium
import numpy as np
from safetensors.numpy import save_file

TASKS = {"cart_pole": ("CartPole-v1", 60), "pendulum": ("Pendulum-v1", 200), "acrobot": ("Acrobot-v1", 300),
         "mountain_car": ("MountainCarContinuous-v0", 400)}


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
                if name == "mountain_car":  # rocks, so that it gets there
                    action = rng.uniform(0.3, 1.5) * (1 if env.state[1] >= 0 else -1)
                told = np.array([action])
            _, reward, terminated, _, _ = env.step(told)
            states.append(np.array(env.state, dtype=np.float64))  # of mountain_car rounded to float32 at every step
            actions.append(float(action)), rewards.append(float(reward)), ends.append(terminated)
            if terminated:
                break
        out |= {f"{name}.states": np.array(states), f"{name}.actions": np.array(actions),
                f"{name}.rewards": np.array(rewards), f"{name}.ends": np.array(ends, dtype=np.uint8)}
        print(name, len(rewards), ends[-1])
    save_file(out, pathlib.Path(__file__).parent / "data" / "classic.safetensors")


if __name__ == "__main__":
    main()

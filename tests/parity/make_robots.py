"""Gymnasium's MuJoCo tasks, version 5 -> tests/parity/data/robots.safetensors.

For each task: 1,000 steps from a given state under given actions (past the end of the episode, too), the observation
of every 20th and every reward and end; and the mean, deviation, least and greatest of 4,000 first observations.
Actions are kept as bytes: low + (high - low) * byte / 255.

    python tests/parity/make_robots.py
"""
import pathlib

import gymnasium
import numpy as np
from safetensors.numpy import save_file

TASKS = {"inverted_pendulum": "InvertedPendulum", "reacher": "Reacher", "pusher": "Pusher", "hopper": "Hopper",
         "walker2d": "Walker2d", "half_cheetah": "HalfCheetah", "ant": "Ant"}
STEPS, EVERY, STARTS = 1000, 20, 4000


def main():
    rng = np.random.default_rng(0)
    out = {}
    for name, task in TASKS.items():
        env = gymnasium.make(f"{task}-v5").unwrapped
        first, _ = env.reset(seed=1)
        low, high = env.action_space.low.astype(np.float64), env.action_space.high.astype(np.float64)
        data = {"qpos": env.data.qpos.copy(), "qvel": env.data.qvel.copy(), "first": first.copy()}
        # Slow changes move a robot further than white noise does.
        noise = np.cumsum(rng.normal(size=(STEPS, low.size)), 0)
        levels = (127.5 + 127.5 * np.sin(noise / 3)).astype(np.uint8)
        observations, rewards, ends = [], [], []
        for t in range(STEPS):
            observation, reward, terminated, _, _ = env.step(low + (high - low) * levels[t] / 255)
            rewards.append(reward), ends.append(terminated)
            if t % EVERY == EVERY - 1:
                observations.append(observation.copy())
        data |= {"actions": levels, "observations": np.array(observations), "rewards": np.array(rewards),
                 "ends": np.array(ends, dtype=np.uint8)}
        starts = np.array([env.reset(seed=s)[0] for s in range(STARTS)])
        data["starts"] = np.array([starts.mean(0), starts.std(0), starts.min(0), starts.max(0)])
        out |= {f"{name}.{key}": np.ascontiguousarray(value) for key, value in data.items()}
    save_file(out, pathlib.Path(__file__).parent / "data" / "robots.safetensors")


if __name__ == "__main__":
    main()

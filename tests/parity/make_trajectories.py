"""Episodes as h5py writes them in D4RL's and Minari's layout, what they hold as JSON lines, and files that lie.

    python tests/parity/make_trajectories.py      (h5py, numpy)
"""
import json
import pathlib

import h5py
import numpy as np

OUT = pathlib.Path(__file__).parent / "data" / "trajectories"
OUT.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(4)
LENGTHS, ENDED = [5, 3, 4], [True, False, False]  # the last is cut off by the file's end


def episode(length):
    return {
        "observations": rng.normal(size=(length + 1, 3)).astype(np.float32),
        "actions": rng.uniform(-1, 1, size=(length, 2)).astype(np.float32),
        "rewards": rng.normal(size=length).astype(np.float32),
    }


episodes = [episode(n) for n in LENGTHS]

with open(OUT / "episodes.jsonl", "w") as out:
    for e, ended in zip(episodes, ENDED):
        row = {k: v.astype(float).tolist() for k, v in e.items()}
        out.write(json.dumps({**row, "terminated": ended}) + "\n")

with h5py.File(OUT / "d4rl.hdf5", "w") as f:
    terminals, timeouts = [], []
    for n, ended, last in zip(LENGTHS, ENDED, [False, False, True]):
        terminals += [False] * (n - 1) + [ended]
        timeouts += [False] * (n - 1) + [not ended and not last]
    f.create_dataset("observations", data=np.concatenate([e["observations"][:-1] for e in episodes]), compression="gzip")
    f.create_dataset("next_observations", data=np.concatenate([e["observations"][1:] for e in episodes]))
    f.create_dataset("actions", data=np.concatenate([e["actions"] for e in episodes]), compression="gzip", shuffle=True)
    f.create_dataset("rewards", data=np.concatenate([e["rewards"] for e in episodes]))
    f.create_dataset("terminals", data=np.array(terminals))
    f.create_dataset("timeouts", data=np.array(timeouts))
    f.create_dataset("metadata/algorithm", data="a text beside the arrays")

with h5py.File(OUT / "minari.hdf5", "w") as f:
    # Twelve groups, so that their order by name is not their order.
    for i in [2, 10, 0, 1] + list(range(3, 10)) + [11]:
        e, ended = episodes[i % 3], ENDED[i % 3]
        g = f.create_group(f"episode_{i}")
        n = len(e["actions"])
        for name, value in e.items():
            g.create_dataset(name, data=value.astype(np.float64), chunks=True, compression="gzip")
        g.create_dataset("terminations", data=np.array([False] * (n - 1) + [ended]))
        g.create_dataset("truncations", data=np.array([False] * (n - 1) + [not ended]))
        g.create_group("infos")
        g.attrs["total_steps"] = n
    f.attrs["total_episodes"] = 12


def lying(name, change):
    """A D4RL file in which `change` has put something wrong."""
    with h5py.File(OUT / f"bad_{name}.hdf5", "w") as f:
        f["observations"], f["actions"] = np.zeros((4, 3), np.float32), np.zeros((4, 2), np.float32)
        f["terminals"] = np.array([False, False, False, True])
        change(f)


def replaced(key, make):
    def change(f):
        del f[key]
        make(f)

    return change


lying("external_link", replaced("actions", lambda f: f.__setitem__("actions", h5py.ExternalLink("d4rl.hdf5", "/actions"))))
lying("soft_link", replaced("actions", lambda f: f.__setitem__("actions", h5py.SoftLink("/observations"))))
lying("external_data", replaced("actions", lambda f: f.create_dataset(
    "actions", shape=(4, 2), dtype=np.float32, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])))


def virtual(f):
    layout = h5py.VirtualLayout(shape=(4, 2), dtype=np.float32)
    layout[:] = h5py.VirtualSource("d4rl.hdf5", "actions", shape=(12, 2))[:4]
    f.create_virtual_dataset("actions", layout)


lying("virtual", replaced("actions", virtual))
lying("huge", replaced("actions", lambda f: f.create_dataset("actions", shape=(1 << 40, 2), chunks=(4, 2), dtype=np.float32)))
lying("huge_product", replaced("actions", lambda f: f.create_dataset(
    "actions", shape=(1 << 29, 1 << 29), chunks=(4, 4), dtype=np.float32)))
lying("text", replaced("actions", lambda f: f.__setitem__("actions", ["left", "right", "up", "down"])))
lying("dimensions", replaced("actions", lambda f: f.__setitem__("actions", np.zeros((4, 2, 2)))))
lying("scalar", replaced("actions", lambda f: f.__setitem__("actions", 3.0)))
lying("dictionary", replaced("observations", lambda f: f.create_group("observations").create_dataset("x", data=[1.0])))
lying("lengths", replaced("actions", lambda f: f.__setitem__("actions", np.zeros((3, 2)))))
lying("ends", replaced("terminals", lambda f: None))
lying("names", replaced("actions", lambda f: None))
with h5py.File(OUT / "bad_group.hdf5", "w") as f:
    f.create_group("episode_0")["observations"] = np.zeros((4, 3))
whole = (OUT / "d4rl.hdf5").read_bytes()
(OUT / "bad_truncated.hdf5").write_bytes(whole[: len(whole) // 2])
(OUT / "bad_format.hdf5").write_bytes(b"not HDF5 at all\n" * 8)

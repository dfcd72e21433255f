"""Writes a file with every dtype by the safetensors library.

    python tests/parity/make_safetensors.py tests/parity/data/safetensors/all_dtypes.safetensors

Needs torch and safetensors. Each tensor is [2, 3] and holds 0 .. 5, named by its dtype; also `scalar` (7), `empty` [0, 4].
"""

import pathlib
import sys

import safetensors.torch
import torch

DTYPES = ("float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 complex64 "
          "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool").split()  # fmt: skip


def main(file):
    tensors = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in DTYPES}
    tensors |= {"scalar": torch.tensor(7.0), "empty": torch.zeros(0, 4)}
    file.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(tensors, file, metadata={"format": "pt", "note": "grüße"})


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

"""Weights as bitsandbytes quantizes them on a CPU: 4 bits (nf4) and, a row at a time, 8 bits.

pip install torch bitsandbytes safetensors
python tests/parity/make_quantized.py
"""
import pathlib

import torch
from bitsandbytes import functional
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).parent / "data" / "quantized.safetensors"


def main():
    torch.manual_seed(0)
    weight = torch.randn(6, 128) * torch.linspace(0.01, 3, 6)[:, None]
    weight[2, :64] = 0  # a block of zeros
    codes, state = functional.quantize_4bit(weight, quant_type="nf4", blocksize=64, compress_statistics=False)
    out = {
        "weight": weight,
        "nf4.codes": codes.view(6, 64),
        "nf4.scale": state.absmax.view(6, 2),
        "nf4.weight": functional.dequantize_4bit(codes, state),
    }
    half = weight.half()
    codes, absmax, _ = functional.int8_vectorwise_quant(half)
    out |= {"int8.of": half.float(), "int8.codes": codes, "int8.absmax": absmax}
    save_file({name: value.contiguous() for name, value in out.items()}, OUT)
    print({name: tuple(value.shape) for name, value in out.items()}, OUT)


if __name__ == "__main__":
    main()

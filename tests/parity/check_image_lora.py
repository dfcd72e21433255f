"""Loads LoRA files that rft wrote into diffusers' models and compares what they add. Run by hand:

    mkdir OUT
    RFT_IMAGE_LORA_OUT=OUT build/release/tests/nn_tests --gtest_filter=ImageLora.WritesFilesForDiffusersToRead
    python tests/parity/check_image_lora.py OUT
"""
import pathlib
import sys

from safetensors.torch import load_file

from make_image_lora import deltas, load


def main(directory):
    for part in ("unet", "transformer"):
        ours = load_file(directory / f"{part}.deltas.safetensors")
        theirs = deltas(load(directory / f"{part}.safetensors", part))
        assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
        worst = max((ours[name].double() - theirs[name]).abs().max().item() for name in ours)
        largest = max(value.abs().max().item() for value in theirs.values())
        print(f"{part}: {len(ours)} layers, largest difference {worst:.2e} of {largest:.2f}")
        assert worst < 1e-5 * max(largest, 1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

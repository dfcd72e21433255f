"""Writes tests/parity/data/image_lora/: LoRA files of tiny image models in every layout that diffusers loads.

    python tests/parity/make_image_lora.py tests/parity/data/image_lora

linears.json: the models' linear layers, {"unet" | "transformer": {module: [out, in]}}. NAME.safetensors is a
pytorch_lora_weights.safetensors; NAME.deltas.safetensors has, for each adapted module, (B A scale) x of
x[i] = sin(i + 1), from the layers of a model into which diffusers loaded NAME.safetensors.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.training_utils import _collate_lora_metadata
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

ATTENTION = ["to_k", "to_q", "to_v", "to_out.0"]


def unet():
    return UNet2DConditionModel(
        sample_size=8, block_out_channels=(4, 8), layers_per_block=1, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"), mid_block_type=None, cross_attention_dim=6, attention_head_dim=2, norm_num_groups=2)


def transformer():
    return FluxTransformer2DModel(patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=4,
                                  num_attention_heads=2, joint_attention_dim=6, pooled_projection_dim=6, axes_dims_rope=(0, 2, 2))


def adapted(model, **config):
    model.add_adapter(LoraConfig(**config))
    for name, value in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(value, std=0.3)
    return model


def load(file, part):
    """A fresh model with the file's adapter in it, as load_lora_weights does it."""
    pipeline, model = (StableDiffusionPipeline, unet()) if part == "unet" else (FluxPipeline, transformer())
    state, alphas, metadata = pipeline.lora_state_dict(str(file), **{"return_lora_metadata": True} | (
        {} if part == "unet" else {"return_alphas": True}))
    getattr(pipeline, f"load_lora_into_{part}")(state, network_alphas=alphas or None, metadata=metadata, **{part: model})
    return model


def adapter_layers(model):
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}


def deltas(model):
    out = {}
    for name, layer in adapter_layers(model).items():
        delta = layer.get_delta_weight(next(iter(layer.lora_A)))
        out[name] = (delta.double() @ torch.sin(torch.arange(delta.shape[1], dtype=torch.float64) + 1)).detach().contiguous()
    return out


def old_names(state):
    """Names of the first diffusers releases: attn1.processor.to_q_lora.down.weight."""
    out = {}
    for name, value in state.items():
        head, tail = name.split(".lora.")
        module, layer = (head.removesuffix(".to_out.0"), "to_out") if head.endswith("to_out.0") else head.rsplit(".", 1)
        out[f"unet.{module}.processor.{layer}_lora.{tail}"] = value
    return out


def kohya_names(state):
    """Names, ranks and alphas of kohya's scripts. One alpha for all: diffusers loses those that differ."""
    out = {}
    for name, value in state.items():
        head, tail = name.split(".lora.")
        flat = "lora_unet_" + head.replace(".", "_")
        rank = 1 if "to_q" in head else 2
        out[f"{flat}.lora_{tail}"] = (value[:rank] if "down" in tail else value[:, :rank]).contiguous()
        out[f"{flat}.alpha"] = torch.tensor(1.5)
    return out


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    def save(pipeline, name, **layers):
        pipeline.save_lora_weights(directory, weight_name=f"{name}.safetensors", **layers)

    linears = {part: {name: list(layer.weight.shape) for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear)}
               for part, model in (("unet", unet()), ("transformer", transformer()))}
    (directory / "linears.json").write_text(json.dumps(linears, indent=0) + "\n")

    model = adapted(unet(), r=2, lora_alpha=8, target_modules=ATTENTION)
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(model))
    save(StableDiffusionPipeline, "unet", unet_lora_layers=state, **_collate_lora_metadata({"unet": model}))
    save(StableDiffusionPipeline, "unet_no_metadata", unet_lora_layers=state)
    save_file(old_names(state), directory / "unet_old.safetensors")
    save_file(kohya_names(state), directory / "unet_kohya.safetensors")

    model = adapted(transformer(), r=4, lora_alpha=6, use_rslora=True, target_modules=ATTENTION + ["add_q_proj", "ff.net.0.proj"],
                    rank_pattern={"to_k": 2}, alpha_pattern={"transformer_blocks.0.attn.to_v": 3})
    state = get_peft_model_state_dict(model)
    save(FluxPipeline, "transformer", transformer_lora_layers=state, **_collate_lora_metadata({"transformer": model}))
    alphas = {f"{name.split('.lora_A')[0]}.alpha": torch.tensor(1.0) for name in state if ".lora_A" in name}
    save(FluxPipeline, "transformer_alphas", transformer_lora_layers=state | alphas)

    for file in sorted(directory.glob("*.safetensors")):
        if not file.stem.endswith(".deltas"):
            written = directory / f"{file.stem}.deltas.safetensors"
            save_file(deltas(load(file, file.stem.split("_")[0])), written)
            for path in (file, written):
                path.chmod(0o644)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

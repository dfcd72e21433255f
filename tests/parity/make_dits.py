"""The transformers among diffusers' denoisers: directories, inputs, outputs and gradients -> tests/parity/data/dits/.

    python tests/parity/make_dits.py
"""
import copy
import json
import pathlib

import torch
from diffusers import DiTTransformer2DModel, FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent / "data" / "dits"

SMALL = dict(num_attention_heads=2, attention_head_dim=8)
DITS = {
    "dit": dict(SMALL, in_channels=4, out_channels=8, num_layers=2, sample_size=8, num_embeds_ada_norm=5),
    "dit_affine": dict(SMALL, in_channels=3, num_layers=1, sample_size=8, patch_size=4, num_embeds_ada_norm=3,
                       attention_bias=False, activation_fn="gelu", norm_elementwise_affine=True, norm_eps=1e-2),
}
JOINT = dict(SMALL, joint_attention_dim=12, pooled_projection_dim=6)
SD3 = dict(JOINT, sample_size=8, in_channels=4, out_channels=4, caption_projection_dim=16)
SD3S = {
    "sd3": dict(SD3, num_layers=2, pos_embed_max_size=9),
    "sd35": dict(SD3, num_layers=3, pos_embed_max_size=8, dual_attention_layers=(0, 2), qk_norm="rms_norm"),
    "sd3_stretched": dict(SD3, num_layers=1, out_channels=None, pos_embed_max_size=None),
}
FLUX = dict(JOINT, in_channels=16, axes_dims_rope=(2, 4, 2))
FLUXES = {
    "flux": dict(FLUX, num_layers=1, num_single_layers=2, guidance_embeds=True),
    "flux_schnell": dict(FLUX, num_layers=2, num_single_layers=1),
}
OTHER_SIZE = {"dit": (12, 12), "dit_affine": (16, 16), "sd3": (10, 18), "sd35": (16, 4), "sd3_stretched": (4, 12),
              "flux": (4, 10), "flux_schnell": (12, 6)}
WATCHED = ("pos_embed.proj.weight", "transformer_blocks.0.norm1.linear.bias", "transformer_blocks.0.ff.net.2.weight",
           "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight", "transformer_blocks.0.norm3.weight",
           "transformer_blocks.0.attn1.to_k.weight", "proj_out_1.weight", "transformer_blocks.0.attn.add_k_proj.weight",
           "transformer_blocks.0.attn.to_add_out.weight", "transformer_blocks.0.attn2.to_q.weight",
           "transformer_blocks.2.attn2.to_out.0.bias", "transformer_blocks.0.attn.norm_q.weight",
           "transformer_blocks.0.attn.norm_added_k.weight", "transformer_blocks.1.norm1_context.linear.bias",
           "time_text_embed.text_embedder.linear_1.weight", "time_text_embed.guidance_embedder.linear_2.weight",
           "time_text_embed.timestep_embedder.linear_2.weight", "context_embedder.weight", "x_embedder.weight",
           "single_transformer_blocks.0.proj_out.weight", "single_transformer_blocks.0.attn.norm_k.weight",
           "single_transformer_blocks.0.attn.to_v.bias", "norm_out.linear.weight", "proj_out.bias")


def shaken(model):
    """Weights as after training: nothing is left at one or zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def inputs(channels, size):
    return {"sample": torch.randn(2, channels, 8, 8), "other_sample": torch.randn(2, channels, *size),
            "timestep": torch.tensor([421.0, 999.0]), "class_labels": torch.tensor([3, 1]),
            "text": torch.randn(2, 5, 12), "pooled": torch.randn(2, 6), "guidance": torch.tensor([1.0, 3.5])}


def dit(model, sample, given):
    return model(sample, timestep=given["timestep"], class_labels=given["class_labels"]).sample


def sd3(model, sample, given):
    return model(sample, encoder_hidden_states=given["text"], pooled_projections=given["pooled"],
                 timestep=given["timestep"]).sample


def flux(model, sample, given):
    """As the pipeline does: latents packed, timesteps divided by 1000."""
    n, c, h, w = sample.shape
    out = model(FluxPipeline._pack_latents(sample, n, c, h, w), encoder_hidden_states=given["text"],
                pooled_projections=given["pooled"], timestep=given["timestep"] / 1000,
                img_ids=FluxPipeline._prepare_latent_image_ids(n, h // 2, w // 2, "cpu", torch.float32),
                txt_ids=torch.zeros(given["text"].shape[1], 3),
                guidance=given["guidance"] if model.config.guidance_embeds else None).sample
    return FluxPipeline._unpack_latents(out, h, w, 1)


@torch.no_grad()
def run_in_bfloat16(model, run, given):
    """Of a copy; timesteps and guidance stay as they are."""
    low = {k: v.bfloat16() if k in ("sample", "text", "pooled") else v for k, v in given.items()}
    return run(copy.deepcopy(model).bfloat16(), low["sample"], low)


def write(name, model, run, channels):
    given = inputs(channels, OTHER_SIZE[name])
    given["sample"].requires_grad_()
    output = run(model, given["sample"], given)
    direction = torch.randn(output.shape)
    (output * direction).sum().backward()
    with torch.no_grad():
        other = run(model, given["other_sample"], given)
    directory = HERE / name
    model.save_pretrained(directory)
    low = run_in_bfloat16(model, run, given)
    grads = {f"grad.{n}": p.grad.contiguous() for n, p in model.named_parameters() if n in WATCHED}
    save_file({**{k: v.detach().contiguous() for k, v in given.items()}, "output": output.detach().contiguous(),
               "other_output": other.contiguous(), "direction": direction, "bfloat16_output": low.contiguous(),
               "grad.sample": given["sample"].grad.contiguous(), **grads}, directory / "case.safetensors")
    shapes = {n: list(p.shape) for n, p in model.state_dict().items()}
    (directory / "shapes.json").write_text(json.dumps(shapes, indent=0, sort_keys=True) + "\n")


def main():
    for name, config in DITS.items():
        torch.manual_seed(0)
        write(name, shaken(DiTTransformer2DModel(**config)).eval(), dit, config["in_channels"])
    for name, config in SD3S.items():
        torch.manual_seed(0)
        model = shaken(SD3Transformer2DModel(**config)).eval()
        if name == "sd35":  # so that positions which are not read from the file would show
            model.pos_embed.pos_embed.add_(0.5 * torch.randn_like(model.pos_embed.pos_embed))
        write(name, model, sd3, config["in_channels"])
    for name, config in FLUXES.items():
        torch.manual_seed(0)
        write(name, shaken(FluxTransformer2DModel(**config)).eval(), flux, config["in_channels"] // 4)


if __name__ == "__main__":
    main()

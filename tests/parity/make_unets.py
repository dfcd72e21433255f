"""U-Nets and a ControlNet of diffusers: directories, inputs, outputs and gradients -> tests/parity/data/unets/.

    python tests/parity/make_unets.py [NAME ...]
"""
import json
import pathlib
import sys

import torch
from diffusers import ControlNetModel, UNet2DConditionModel, UNet2DModel, UNetMotionModel
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent / "data" / "unets"

UNETS = {
    "unet2d": dict(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 16),
                   down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
                   norm_num_groups=4, num_class_embeds=5, attention_head_dim=8),
    "unet2d_shift": dict(sample_size=8, in_channels=3, out_channels=6, layers_per_block=2, block_out_channels=(8, 8),
                         down_block_types=("AttnDownBlock2D", "DownBlock2D"),
                         up_block_types=("UpBlock2D", "AttnUpBlock2D"), norm_num_groups=2, attention_head_dim=None,
                         resnet_time_scale_shift="scale_shift", center_input_sample=True, flip_sin_to_cos=False,
                         freq_shift=1, mid_block_scale_factor=1.5, norm_eps=1e-6),
}
CONDITIONED = {
    "sd15": dict(sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
                 down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                 up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), norm_num_groups=4, cross_attention_dim=12,
                 attention_head_dim=2),
    "sdxl": dict(sample_size=8, in_channels=4, out_channels=4, layers_per_block=2, block_out_channels=(8, 16),
                 down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                 up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), norm_num_groups=4, cross_attention_dim=12,
                 attention_head_dim=(1, 2), transformer_layers_per_block=(1, 2), use_linear_projection=True,
                 addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=30),
    "plain": dict(sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(8, 8),
                  down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
                  mid_block_type="UNetMidBlock2D", norm_num_groups=4, num_class_embeds=5, cross_attention_dim=8),
}
MOTION = dict(sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8),
              down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
              up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"), norm_num_groups=4, cross_attention_dim=12,
              num_attention_heads=2, motion_max_seq_length=6)
MOTIONS = {
    "motion": dict(MOTION, motion_num_attention_heads=4),
    "motion_plain_mid": dict(MOTION, motion_num_attention_heads=(2, 4), use_motion_mid_block=False,
                             temporal_transformer_layers_per_block=2, use_linear_projection=True),
}
WATCHED = ("mid_block.motion_modules.0.proj_in.weight", "down_blocks.1.motion_modules.0.norm.weight",
           "up_blocks.1.motion_modules.1.transformer_blocks.0.attn2.to_k.weight","conv_in.weight", "mid_block.attentions.0.to_q.weight", "time_embedding.linear_1.weight",
           "class_embedding.weight", "up_blocks.0.resnets.1.conv_shortcut.weight", "add_embedding.linear_1.weight",
           "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", "controlnet_mid_block.weight",
           "controlnet_cond_embedding.conv_in.weight", "down_blocks.1.resnets.0.conv1.weight")


def shaken(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def inputs(config):
    given = {"sample": torch.randn(3, config["in_channels"], 8, 8), "timestep": torch.tensor([3.0, 421.0, 999.0]),
             "class_labels": torch.tensor([0, 4, 2]), "text": torch.randn(3, 5, config.get("cross_attention_dim", 4)),
             "pooled": torch.randn(3, 6), "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 3)}
    return given


def arguments(config, given):
    out = {}
    if config.get("num_class_embeds"):
        out["class_labels"] = given["class_labels"]
    if "cross_attention_dim" in config:
        out["encoder_hidden_states"] = given["text"]
    if config.get("addition_embed_type"):
        out["added_cond_kwargs"] = {"text_embeds": given["pooled"], "time_ids": given["time_ids"]}
    return out


def write(name, model, given, output):
    directory = HERE / name
    model.save_pretrained(directory)
    grads = {f"grad.{n}": p.grad.contiguous() for n, p in model.named_parameters() if n in WATCHED}
    save_file({**{k: v.detach().contiguous() for k, v in given.items()}, **output,
               "grad.sample": given["sample"].grad.contiguous(), **grads}, directory / "case.safetensors")
    shapes = {n: list(p.shape) for n, p in model.state_dict().items()}
    (directory / "shapes.json").write_text(json.dumps(shapes, indent=0, sort_keys=True) + "\n")


def unet(name, model, config):
    given = inputs(config)
    given["sample"].requires_grad_()
    output = model(given["sample"], given["timestep"], **arguments(config, given)).sample
    direction = torch.randn(output.shape)
    (output * direction).sum().backward()
    write(name, model, given, {"output": output.detach().contiguous(), "direction": direction})
    return model


def controlnet(name, base, config):
    model = shaken(ControlNetModel.from_unet(base, conditioning_channels=3,
                                             conditioning_embedding_out_channels=(4, 6)))
    given = inputs(config)
    given["sample"].requires_grad_()
    given["control"] = torch.rand(3, 3, 16, 16)
    down, mid = model(given["sample"], given["timestep"], controlnet_cond=given["control"], conditioning_scale=0.7,
                      return_dict=False, **arguments(config, given))
    (sum(d.sum() for d in down) + mid.square().sum()).backward()
    output = {f"down.{i}": d.detach().contiguous() for i, d in enumerate(down)}
    with torch.no_grad():
        controlled = base(given["sample"], given["timestep"], down_block_additional_residuals=down,
                          mid_block_additional_residual=mid, **arguments(config, given)).sample
    write(name, model, given, {**output, "mid": mid.detach().contiguous(), "controlled": controlled})


def motion(name, model, config, videos=2, frames=4):
    """A video's frames stand under each other: [N, C, frames, h, w] is read as [N, C, frames * h, w]."""
    strip = lambda video: video.flatten(2, 3).contiguous()
    given = {key: value[:videos] for key, value in inputs(config).items()}
    video = torch.randn(videos, config["in_channels"], frames, 8, 8, requires_grad=True)
    output = model(video, given["timestep"], encoder_hidden_states=given["text"].repeat_interleave(frames, 0)).sample
    direction = torch.randn(output.shape)
    (output * direction).sum().backward()
    given["sample"] = strip(video.detach())
    given["sample"].grad = strip(video.grad)
    write(name, model, given, {"output": strip(output.detach()), "direction": strip(direction)})


def main():
    for name, config in MOTIONS.items():
        torch.manual_seed(0)
        if not sys.argv[1:] or name in sys.argv[1:]:
            motion(name, shaken(UNetMotionModel(**config)), config)
    if sys.argv[1:]:
        return
    for name, config in UNETS.items():
        torch.manual_seed(0)
        unet(name, shaken(UNet2DModel(**config)), config)
    for name, config in CONDITIONED.items():
        torch.manual_seed(0)
        model = unet(name, shaken(UNet2DConditionModel(**config)), config)
        if name == "sd15":
            controlnet("controlnet", model, config)


if __name__ == "__main__":
    main()

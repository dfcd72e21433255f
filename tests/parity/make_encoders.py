"""Image and text encoders of diffusers and transformers: directories, inputs, outputs and gradients ->
tests/parity/data/encoders/.

    python tests/parity/make_encoders.py
"""
import json
import pathlib

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file
from transformers import (CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection,
                          CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection, ViTConfig,
                          ViTForImageClassification)

HERE = pathlib.Path(__file__).parent / "data" / "encoders"

KL = dict(down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
          block_out_channels=(4, 8), norm_num_groups=2, sample_size=8)
CODECS = {
    "kl": (AutoencoderKL, KL),
    "kl_flux": (AutoencoderKL, dict(KL, latent_channels=6, layers_per_block=2, use_quant_conv=False,
                                    use_post_quant_conv=False, shift_factor=0.1159, scaling_factor=0.3611)),
    "kl_no_attention": (AutoencoderKL, dict(KL, block_out_channels=(4, 4), mid_block_add_attention=False,
                                            in_channels=1, out_channels=1, act_fn="gelu", scaling_factor=0.13025)),
    "tiny": (AutoencoderTiny, dict(encoder_block_out_channels=(4, 4, 4), decoder_block_out_channels=(6, 6, 6),
                                   num_encoder_blocks=(1, 2, 1), num_decoder_blocks=(2, 1, 1), scaling_factor=1.5305,
                                   shift_factor=0.0609)),
}
TEXT = dict(vocab_size=40, hidden_size=16, intermediate_size=24, projection_dim=10, num_hidden_layers=3,
            num_attention_heads=2, max_position_embeddings=9, bos_token_id=37, pad_token_id=1)
TEXTS = {
    "text": (CLIPTextModel, dict(TEXT, eos_token_id=2)),
    "text_projection": (CLIPTextModelWithProjection, dict(TEXT, eos_token_id=38, hidden_act="gelu")),
}
VISION = dict(hidden_size=16, intermediate_size=24, projection_dim=10, num_hidden_layers=2, num_attention_heads=2,
              image_size=8, patch_size=4)
VISIONS = {
    "vision": (CLIPVisionModel, VISION),
    "vision_projection": (CLIPVisionModelWithProjection, dict(VISION, hidden_act="gelu", image_size=10)),
}
WATCHED = (
    "encoder.conv_in.weight", "encoder.mid_block.attentions.0.to_q.weight", "quant_conv.weight",
    "encoder.down_blocks.0.downsamplers.0.conv.weight", "decoder.up_blocks.1.resnets.0.conv_shortcut.weight",
    "decoder.mid_block.attentions.0.group_norm.weight", "decoder.up_blocks.0.upsamplers.0.conv.bias",
    "post_quant_conv.bias", "decoder.conv_out.weight", "encoder.layers.2.weight", "decoder.layers.5.weight",
    "decoder.layers.2.conv.4.weight", "embeddings.token_embedding.weight", "embeddings.position_embedding.weight",
    "encoder.layers.0.self_attn.q_proj.weight", "encoder.layers.1.mlp.fc1.bias", "text_projection.weight",
    "visual_projection.weight", "embeddings.class_embedding", "embeddings.patch_embedding.weight",
    "pre_layrnorm.weight", "vit.embeddings.patch_embeddings.projection.weight", "classifier.bias",
    "vit.layers.0.attention.k_proj.weight")
# save_pretrained writes some parameters under older names than the module has.
WRITTEN = {"vit.layers.0.attention.k_proj.weight": "vit.encoder.layer.0.attention.attention.key.weight"}


def shaken(model, amount=0.1):
    """Biases and norms away from their starting values, so that all of them matter."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return model.eval()


def gradients(model):
    def watched(name):
        return name in WATCHED or name.removeprefix("text_model.").removeprefix("vision_model.") in WATCHED

    return {f"grad.{WRITTEN.get(name, name)}": p.grad.contiguous() for name, p in model.named_parameters()
            if p.grad is not None and watched(name)}


def write(name, model, case, stem="model"):
    """The directory with its tensors, the case, and the names and shapes that the library wrote."""
    directory = HERE / name
    model.save_pretrained(directory)
    save_file({key: value.detach().contiguous() for key, value in case.items()}, directory / "case.safetensors")
    shapes = {key: list(value.shape) for key, value in load_file(directory / f"{stem}.safetensors").items()}
    (directory / "shapes.json").write_text(json.dumps(shapes, indent=0, sort_keys=True) + "\n")


def codec(name, kind, config):
    model = shaken(kind(**config), 0.05)
    scale, shift = model.config.scaling_factor, model.config.shift_factor or 0
    images = (2 * torch.rand(2, model.config.in_channels, 8, 12) - 1).requires_grad_()
    encoded = model.encode(images)
    latents = ((encoded.latent_dist.mode() if kind is AutoencoderKL else encoded.latents) - shift) * scale
    direction = torch.randn(latents.shape)
    (latents * direction).sum().backward()
    given = torch.randn(latents.shape).requires_grad_()
    decoded = model.decode(given / scale + shift).sample
    direction_back = torch.randn(decoded.shape)
    (decoded * direction_back).sum().backward()
    write(name, model, {"images": images, "encoded": latents, "direction": direction, "grad.images": images.grad,
                        "latents": given, "decoded": decoded, "direction_back": direction_back,
                        "grad.latents": given.grad, **gradients(model)}, "diffusion_pytorch_model")


def token_ids():
    """Rows that end in 38 at different places; the largest id (39) stands elsewhere in the second one."""
    return torch.tensor([[37, 5, 6, 7, 38, 38, 38], [37, 39, 12, 38, 1, 1, 1], [37, 3, 30, 31, 32, 33, 38]])


def text_case(model, tower, ids):
    out = tower(input_ids=ids, output_hidden_states=True)
    pooled = out.pooler_output
    if hasattr(model, "text_projection"):
        pooled = model.text_projection(pooled)
    (pooled.square().sum() + out.last_hidden_state.sin().sum() + out.hidden_states[-2].sum()).backward()
    return {"ids": ids, "hidden": out.last_hidden_state, "penultimate": out.hidden_states[-2], "pooled": pooled,
            **gradients(model)}


def text(name, kind, config):
    model = shaken(kind(CLIPTextConfig(**config)))
    write(name, model, text_case(model, getattr(model, "text_model", model), token_ids()))


def resized(images, size):
    """The short side made `size`, the centre cut out: CLIPImageProcessor's way, with torch's own resizing."""
    height, width = images.shape[-2:]
    short = min(height, width)
    height, width = size * height // short, size * width // short
    images = torch.nn.functional.interpolate(images, (height, width), mode="bicubic", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    return images[..., top:top + size, left:left + size]


def normalised(images, mean, std):
    return (images - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def vision_case(model, tower, images):
    images.requires_grad_()
    out = tower(pixel_values=normalised(resized(images, tower.config.image_size), CLIP_MEAN, CLIP_STD))
    pooled = out.pooler_output
    if hasattr(model, "visual_projection"):
        pooled = model.visual_projection(pooled)
    (pooled.square().sum() + out.last_hidden_state.sin().sum()).backward()
    return {"images": images, "hidden": out.last_hidden_state, "pooled": pooled, "grad.images": images.grad,
            **gradients(model)}


def vision(name, kind, config, images):
    model = shaken(kind(CLIPVisionConfig(**config)))
    write(name, model, vision_case(model, getattr(model, "vision_model", model), images))


def clip():
    """A whole CLIPModel: the case of each tower, one after the other."""
    texts, images = dict(TEXT, eos_token_id=38, num_hidden_layers=1), dict(VISION, num_hidden_layers=1)
    model = shaken(CLIPModel(CLIPConfig(text_config=texts, vision_config=images, projection_dim=6)))
    pixels = torch.rand(2, 3, 9, 9, requires_grad=True)
    ids = token_ids()
    image_embeds = model.get_image_features(normalised(resized(pixels, 8), CLIP_MEAN, CLIP_STD)).pooler_output
    text_embeds = model.get_text_features(ids).pooler_output
    image_embeds.square().sum().backward()
    write("clip", model, {"images": pixels, "image_embeds": image_embeds, "ids": ids, "text_embeds": text_embeds,
                          "grad.images": pixels.grad})


def vit_grey():
    """A classifier of one channel, without biases of q, k and v, at its own size: the mean over channels is taken."""
    model = shaken(ViTForImageClassification(ViTConfig(
        image_size=8, patch_size=2, num_channels=1, hidden_size=12, num_hidden_layers=1, num_attention_heads=3,
        intermediate_size=16, num_labels=1, qkv_bias=False, hidden_act="gelu_new")))
    images = torch.rand(3, 3, 8, 8, requires_grad=True)
    logits = model((images.mean(1, keepdim=True) - 0.5) / 0.5).logits
    logits.square().sum().backward()
    write("vit_grey", model, {"images": images, "logits": logits, "grad.images": images.grad, **gradients(model)})


def resizing():
    """torch's bicubic interpolation with antialiasing, up, down and past the borders."""
    images = torch.rand(2, 3, 13, 21)
    case = {"images": images}
    for size in (5, 8, 16):
        case[f"square.{size}"] = torch.nn.functional.interpolate(images, (size, size), mode="bicubic", antialias=True)
        case[f"crop.{size}"] = resized(images, size)
    save_file({key: value.contiguous() for key, value in case.items()}, HERE / "resizing.safetensors")


def main():
    for name, (kind, config) in CODECS.items():
        torch.manual_seed(0)
        codec(name, kind, config)
    for name, (kind, config) in TEXTS.items():
        torch.manual_seed(0)
        text(name, kind, config)
    for (name, (kind, config)), size in zip(VISIONS.items(), ((17, 11), (8, 13))):
        torch.manual_seed(0)
        vision(name, kind, config, torch.rand(2, 3, *size))
    torch.manual_seed(0)
    clip()
    vit_grey()
    resizing()


if __name__ == "__main__":
    main()

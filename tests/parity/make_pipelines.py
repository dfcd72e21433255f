"""Whole pipelines of diffusers, from given noise to pictures -> tests/parity/data/pipelines/.

    python tests/parity/make_pipelines.py [NAME ...]
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from diffusers import (AnimateDiffPipeline, AutoencoderKL, ControlNetModel, DDIMPipeline, DDIMScheduler, DiTPipeline,
                       DiTTransformer2DModel, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler,
                       SD3Transformer2DModel, StableDiffusion3Pipeline, StableDiffusionControlNetPipeline,
                       StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel, UNet2DModel,
                       UNetMotionModel)
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

DATA = pathlib.Path(__file__).parent / "data"
HERE = DATA / "pipelines"
PROMPTS = ["a small red fox, sleeping", "two boats; 3 birds!"]
NEGATIVE = ["blurry", ""]


def shaken(model, size=0.05):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return model.eval()


def text_config(tokenizer, **more):
    return CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=16, num_hidden_layers=2,
                          num_attention_heads=2, max_position_embeddings=77, projection_dim=6,
                          eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
                          bos_token_id=tokenizer.bos_token_id, **more)


def tokenizer(name):
    return CLIPTokenizer.from_pretrained(DATA / "clip_tokenizer" / name, model_max_length=77)


def vae(**more):
    return shaken(AutoencoderKL(**more, block_out_channels=(4, 8), down_block_types=("DownEncoderBlock2D",) * 2,
                                up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=2,
                                layers_per_block=1, sample_size=16, scaling_factor=0.2))


def unet(**more):
    return shaken(UNet2DConditionModel(**{**dict(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4, cross_attention_dim=8, attention_head_dim=2), **more}))


def write(name, pipeline, rows, given, latents, images):
    directory = HERE / name
    pipeline.save_pretrained(directory, safe_serialization=True)
    (directory / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    save_file(given, directory / "noise.safetensors")
    pictures = torch.from_numpy(np.asarray(images, dtype=np.float32)).permute(0, 3, 1, 2)
    save_file({"latents": latents.contiguous(), "images": pictures.contiguous()}, directory / "case.safetensors")


def ddim():
    torch.manual_seed(0)
    model = shaken(UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1,
                               block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
                               up_block_types=("UpBlock2D",) * 2, norm_num_groups=4))
    pipeline = DDIMPipeline(model, DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    images = pipeline(batch_size=2, num_inference_steps=10, output_type="np",
                      generator=torch.Generator().manual_seed(3)).images
    latents = torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1
    write("ddim", pipeline, [{}, {}], {"noise": noise}, latents, images)


def stable_diffusion():
    torch.manual_seed(1)
    words = tokenizer("first")
    pipeline = StableDiffusionPipeline(
        vae=vae(), text_encoder=shaken(CLIPTextModel(text_config(words))), tokenizer=words, unet=unet(),
        scheduler=DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1,
                                clip_sample=False, set_alpha_to_one=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    rows = [{"prompt": p, "negative_prompt": n} for p, n in zip(PROMPTS, NEGATIVE)]
    run("sd", pipeline, rows, {}, guidance_scale=4.0)


def controlnet():
    torch.manual_seed(2)
    words, base = tokenizer("first"), unet()
    control = shaken(ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(4, 4)), 0.2)
    pipeline = StableDiffusionControlNetPipeline(
        vae=vae(), text_encoder=shaken(CLIPTextModel(text_config(words))), tokenizer=words, unet=base,
        controlnet=control, scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)
    pictures = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)) for i in (0, 1)]
    (HERE / "controlnet").mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        picture.save(HERE / "controlnet" / f"control-{i}.png")
    rows = [{"prompt": p, "control": f"control-{i}.png"} for i, p in enumerate(PROMPTS)]
    run("controlnet", pipeline, rows, {"image": pictures}, guidance_scale=3.0)


def sdxl():
    torch.manual_seed(3)
    first, second = tokenizer("first"), tokenizer("second")
    pipeline = StableDiffusionXLPipeline(
        vae=vae(), text_encoder=shaken(CLIPTextModel(text_config(first))),
        text_encoder_2=shaken(CLIPTextModelWithProjection(text_config(second, hidden_act="gelu"))), tokenizer=first,
        tokenizer_2=second,
        unet=unet(cross_attention_dim=16, attention_head_dim=(1, 2), transformer_layers_per_block=(1, 1),
                  use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=4,
                  projection_class_embeddings_input_dim=30),
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1),
        add_watermarker=False)
    run("sdxl", pipeline, [{"prompt": p} for p in PROMPTS], {}, guidance_scale=5.0)


def sd3():
    torch.manual_seed(4)
    first, second = tokenizer("first"), tokenizer("second")
    pipeline = StableDiffusion3Pipeline(
        vae=vae(shift_factor=0.1), text_encoder=shaken(CLIPTextModelWithProjection(text_config(first))),
        text_encoder_2=shaken(CLIPTextModelWithProjection(text_config(second, hidden_act="gelu"))),
        text_encoder_3=None, tokenizer=first, tokenizer_2=second, tokenizer_3=None,
        transformer=shaken(SD3Transformer2DModel(sample_size=8, patch_size=2, in_channels=4, num_layers=2,
                                                 attention_head_dim=8, num_attention_heads=2, joint_attention_dim=20,
                                                 caption_projection_dim=16, pooled_projection_dim=12, out_channels=4,
                                                 pos_embed_max_size=8)),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    run("sd3", pipeline, [{"prompt": p, "negative_prompt": n} for p, n in zip(PROMPTS, NEGATIVE)], {},
        guidance_scale=4.0)


def dit():
    torch.manual_seed(5)
    pipeline = DiTPipeline(
        transformer=shaken(DiTTransformer2DModel(sample_size=8, in_channels=4, out_channels=8, num_layers=2,
                                                 num_attention_heads=2, attention_head_dim=8, patch_size=2,
                                                 num_embeds_ada_norm=1000, norm_num_groups=4)),
        vae=vae(), scheduler=DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    images = pipeline(class_labels=[3, 7], guidance_scale=2.0, num_inference_steps=10, output_type="np",
                      generator=torch.Generator().manual_seed(3)).images
    write("dit", pipeline, [{"class_label": 3}, {"class_label": 7}], {"noise": noise}, torch.zeros_like(noise), images)


def animatediff():
    torch.manual_seed(6)
    words = tokenizer("first")
    unet = shaken(UNetMotionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 8),
        down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
        up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"), norm_num_groups=4, cross_attention_dim=8,
        num_attention_heads=2, motion_num_attention_heads=2, motion_max_seq_length=4))
    pipeline = AnimateDiffPipeline(
        vae=vae(), text_encoder=shaken(CLIPTextModel(text_config(words))), tokenizer=words, unet=unet,
        motion_adapter=None, scheduler=DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012,
                                                     steps_offset=1, clip_sample=False, timestep_spacing="linspace"))
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 3, 8, 8)
    arguments = dict(prompt=PROMPTS, negative_prompt=NEGATIVE, num_frames=3, num_inference_steps=10, guidance_scale=4.0)
    latents = pipeline(latents=noise.clone(), output_type="latent", **arguments).frames
    videos = pipeline(latents=noise.clone(), output_type="np", **arguments).frames  # [2, 3, 16, 16, 3]
    rows = [{"prompt": p, "negative_prompt": n} for p, n in zip(PROMPTS, NEGATIVE)]
    strips = np.asarray(videos).reshape(2, 3 * 16, 16, 3)
    write("animatediff", pipeline, rows, {"noise": noise.flatten(2, 3).contiguous()}, latents.flatten(2, 3), strips)


def run(name, pipeline, rows, more, guidance_scale):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 8)
    arguments = dict(prompt=[row["prompt"] for row in rows], num_inference_steps=10, guidance_scale=guidance_scale,
                     **more)
    if "negative_prompt" in rows[0]:
        arguments["negative_prompt"] = [row["negative_prompt"] for row in rows]
    latents = pipeline(latents=noise.clone(), output_type="latent", **arguments).images
    images = pipeline(latents=noise.clone(), output_type="np", **arguments).images
    write(name, pipeline, rows, {"noise": noise}, latents, images)


def main():
    makers = {"ddim": ddim, "sd": stable_diffusion, "controlnet": controlnet, "sdxl": sdxl, "sd3": sd3, "dit": dit,
              "animatediff": animatediff}
    for name in sys.argv[1:] or makers:
        shutil.rmtree(HERE / name, ignore_errors=True)
        makers[name]()


if __name__ == "__main__":
    main()

"""Image-to-image runs of diffusers' pipelines, on the tiny ones of make_pipelines.py: clean latents, noise and the
finished latents -> tests/parity/data/image_to_image.safetensors.

    python tests/parity/make_image_to_image.py
"""
import json
import pathlib

import torch
from diffusers import (DDIMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler,
                       StableDiffusion3Img2ImgPipeline, StableDiffusionImg2ImgPipeline)
from safetensors.torch import save_file

DATA = pathlib.Path(__file__).parent / "data"
STEPS, STRENGTH, SEED = 10, 0.65, 7


def run(name, make, guidance, scheduler=None, **more):
    directory = DATA / "pipelines" / name
    pipeline = make.from_pretrained(directory, **more)
    pipeline.set_progress_bar_config(disable=True)
    if scheduler:
        pipeline.scheduler = scheduler.from_config(pipeline.scheduler.config)
    rows = [json.loads(line) for line in (directory / "prompts.jsonl").read_text().splitlines()]
    start = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
    latents = pipeline(prompt=[row["prompt"] for row in rows], negative_prompt=[row["negative_prompt"] for row in rows],
                       image=start, strength=STRENGTH, num_inference_steps=STEPS, guidance_scale=guidance,
                       output_type="latent", generator=torch.Generator().manual_seed(SEED)).images
    return start, noise, latents


def main():
    out = {}
    sd = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    for name, scheduler in (("ddim", DDIMScheduler), ("euler", EulerDiscreteScheduler),
                            ("dpmsolver++", DPMSolverMultistepScheduler)):
        out["start"], out["noise"], out[f"sd.{name}"] = run("sd", StableDiffusionImg2ImgPipeline, 4.0, scheduler, **sd)
    _, _, out["sd3.flow_match_euler"] = run("sd3", StableDiffusion3Img2ImgPipeline, 4.0, text_encoder_3=None,
                                            tokenizer_3=None)
    save_file({name: value.contiguous() for name, value in out.items()}, DATA / "image_to_image.safetensors")


if __name__ == "__main__":
    main()

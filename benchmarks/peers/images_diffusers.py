"""The peer of benchmarks/images.py: diffusers and torch, one task a process, one line of JSON.

    python images_diffusers.py make DIR CLIP_TOKENIZER      # the model that both sides load
    python images_diffusers.py sample|draft|ddpo DIR THREADS
"""
import json
import math
import resource
import sys
import time

import torch

STEPS, BATCH, UPDATES = 20, 2, 3
PROMPTS = ["a small red fox", "two boats on a lake"]


def make(directory, tokenizer_directory):
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_directory, model_max_length=77)
    text = CLIPTextConfig(vocab_size=len(tokenizer), hidden_size=256, intermediate_size=512, num_hidden_layers=2,
                          num_attention_heads=4, max_position_embeddings=77, eos_token_id=tokenizer.eos_token_id,
                          bos_token_id=tokenizer.bos_token_id, pad_token_id=tokenizer.pad_token_id)
    unet = UNet2DConditionModel(sample_size=32, in_channels=4, out_channels=4, layers_per_block=2,
                                block_out_channels=(64, 128, 256, 256), cross_attention_dim=256, attention_head_dim=8)
    vae = AutoencoderKL(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, layers_per_block=1,
                        norm_num_groups=8, sample_size=64)
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1,
                              clip_sample=False, set_alpha_to_one=False)
    pipeline = StableDiffusionPipeline(vae=vae, text_encoder=CLIPTextModel(text), tokenizer=tokenizer, unet=unet,
                                       scheduler=scheduler, safety_checker=None, feature_extractor=None,
                                       requires_safety_checker=False)
    pipeline.save_pretrained(directory)
    print(json.dumps({"parameters": sum(p.numel() for p in unet.parameters())}))


def load(directory):
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(directory, safety_checker=None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.requires_grad_(False)
    pipeline.text_encoder.requires_grad_(False)
    return pipeline


def embeddings(pipeline):
    ids = pipeline.tokenizer(PROMPTS, padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        return pipeline.text_encoder(ids)[0]


def sample(directory):
    pipeline = load(directory)
    noise = torch.randn(BATCH, 4, 32, 32)
    arguments = dict(prompt=PROMPTS, num_inference_steps=STEPS, guidance_scale=5.0, output_type="latent")
    with torch.no_grad():
        pipeline(latents=noise, **{**arguments, "num_inference_steps": 2})
        begin = time.time()
        pipeline(latents=noise, **arguments)
    return time.time() - begin


def draft(directory):
    """AlignProp's loop, the gradient through the last step alone (DRaFT-1)."""
    pipeline = load(directory)
    unet, scheduler, told = pipeline.unet, pipeline.scheduler, embeddings(pipeline)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5)
    target = torch.tensor([0.8, 0.2, 0.2]).view(1, 3)
    seconds = []
    for _ in range(UPDATES):
        begin = time.time()
        scheduler.set_timesteps(STEPS)
        x = torch.randn(BATCH, 4, 32, 32)
        for i, t in enumerate(scheduler.timesteps):
            with torch.set_grad_enabled(i == STEPS - 1):
                x = scheduler.step(unet(x, t, told).sample, t, x).prev_sample
        image = (pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)
        loss = (image.mean((2, 3)) - target).square().sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.time() - begin)
    return min(seconds[1:])


def gaussian_step(scheduler, output, i, x, following=None):
    """A DDIM step with eta 1 and its log-probability, the mean over dimensions (ddpo-pytorch's ddim_with_logprob)."""
    t = scheduler.timesteps[i]
    before = t - scheduler.config.num_train_timesteps // STEPS
    a = scheduler.alphas_cumprod[t]
    b = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    clean = (x - (1 - a).sqrt() * output) / a.sqrt()
    std = ((1 - b) / (1 - a) * (1 - a / b)).clamp(min=1e-12).sqrt()
    mean = b.sqrt() * clean + (1 - b - std**2).clamp(min=0).sqrt() * output
    if following is None:
        following = mean + std * torch.randn_like(x)
    logp = -((following.detach() - mean) ** 2) / (2 * std**2) - std.log() - 0.5 * math.log(2 * math.pi)
    return following, logp.mean((1, 2, 3))


def ddpo(directory):
    """ddpo-pytorch's loop: sample, then a backward pass for each step."""
    pipeline = load(directory)
    unet, scheduler, told = pipeline.unet, pipeline.scheduler, embeddings(pipeline)
    optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-5)
    scheduler.set_timesteps(STEPS)
    seconds = []
    for _ in range(UPDATES):
        begin = time.time()
        states, logps = [torch.randn(BATCH, 4, 32, 32)], []
        with torch.no_grad():
            for i, t in enumerate(scheduler.timesteps):
                x, logp = gaussian_step(scheduler, unet(states[-1], t, told).sample, i, states[-1])
                states.append(x), logps.append(logp)
            image = pipeline.vae.decode(states[-1] / pipeline.vae.config.scaling_factor).sample
        reward = -image.flatten(1).mean(1)
        advantage = (reward - reward.mean()) / (reward.std() + 1e-4)
        optimizer.zero_grad()
        for i, t in enumerate(scheduler.timesteps):
            _, logp = gaussian_step(scheduler, unet(states[i], t, told).sample, i, states[i], states[i + 1])
            ratio = (logp - logps[i]).exp()
            loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - 1e-4, 1 + 1e-4)).mean() / STEPS
            loss.backward()
        torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        seconds.append(time.time() - begin)
    return min(seconds[1:])


def main():
    what, directory, last = sys.argv[1:4]
    if what == "make":
        return make(directory, last)
    torch.set_num_threads(int(last))
    torch.manual_seed(0)
    seconds = {"sample": sample, "draft": draft, "ddpo": ddpo}[what](directory)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()

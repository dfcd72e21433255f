"""Dense-prediction models of transformers and the rewards made of them -> tests/parity/data/dense/.

    python tests/parity/make_dense.py

NAME/: a directory as save_pretrained and an image processor write it, and case.safetensors with images, the model's
output for them after resizing and normalising, and the gradients of sin(output)'s sum in images and some weights.
labels/: grey PNGs of class numbers; depth/: of depths. rewards.safetensors: images [3, 3, 8, 12], and for each reward
NAME [3] and NAME.grad, the gradient of its sum.
"""
import json
import pathlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers import (DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTConfig,
                          DPTForDepthEstimation, SegformerConfig, SegformerForSemanticSegmentation)

HERE = pathlib.Path(__file__).parent / "data" / "dense"
BILINEAR, BICUBIC = 2, 3
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
NECK = {"neck_hidden_sizes": [3, 4, 5], "reassemble_factors": [4, 1, 0.5], "fusion_hidden_size": 4}
VIT = {"hidden_size": 8, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 12, "patch_size": 4}


def segformer():
    return SegformerForSemanticSegmentation(SegformerConfig(
        num_encoder_blocks=3, depths=[2, 1, 1], sr_ratios=[4, 2, 1], hidden_sizes=[4, 6, 8], patch_sizes=[7, 3, 3],
        strides=[4, 2, 2], num_attention_heads=[1, 2, 4], mlp_ratios=[2, 2, 1], decoder_hidden_size=8, num_labels=5))


def dpt():
    return DPTForDepthEstimation(DPTConfig(**VIT, **NECK, intermediate_size=12, backbone_out_indices=[0, 2, 3]))


def dpt_norms():
    shape = dict(VIT, num_hidden_layers=2, layer_norm_eps=1e-3, hidden_act="gelu_new", qkv_bias=False)
    neck = {"neck_hidden_sizes": [3, 5], "reassemble_factors": [2, 1], "fusion_hidden_size": 4, "readout_type": "add"}
    return DPTForDepthEstimation(DPTConfig(**shape, **neck, intermediate_size=12, backbone_out_indices=[0, 1],
                                           use_batch_norm_in_fusion_residual=True))


def depth_anything(**options):
    backbone = Dinov2Config(**VIT, mlp_ratio=2, out_indices=[1, 3, 4], reshape_hidden_states=False)
    return DepthAnythingForDepthEstimation(DepthAnythingConfig(
        backbone_config=backbone, patch_size=4, reassemble_hidden_size=8, head_hidden_size=6, **NECK, **options))


def fill(model, seed):
    """Weights large enough that all inputs matter; depths are mostly positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn(value.shape, generator=generator) * 0.25
            scale = value.ndim == 1 and (name.endswith("norm.weight") or "norm" in name and name.endswith("weight")
                                         or name.endswith("running_var") or name.endswith("lambda1"))
            value.copy_(1 + noise.abs() if scale else noise)
        for name in ("head.head.4.bias", "head.conv3.bias"):
            if name in model.state_dict():
                model.state_dict()[name].fill_(1.0)
    return model.eval()


def size_for(images, size, multiple):
    """The image processor's height and width: of one aspect ratio with the images where `multiple` is given."""
    if not multiple:
        return size
    ratio = [s / have for s, have in zip(size, images.shape[-2:])]
    ratio = min(ratio, key=lambda r: abs(1 - r))
    return [round(ratio * have / multiple) * multiple for have in images.shape[-2:]]


def preprocess(images, size, resample, multiple=None):
    mode = {BILINEAR: "bilinear", BICUBIC: "bicubic"}[resample]
    x = F.interpolate(images, size_for(images, size, multiple), mode=mode, antialias=True, align_corners=False)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def write_case(name, model, size, resample, watched, multiple=None, others=None):
    """-> images [N, 3, H, W] -> the model's maps. `others`: further models of the same weights, by their names."""
    out = HERE / name
    model.save_pretrained(out)
    processor = {"do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": MEAN, "image_std": STD,
                 "resample": resample, "rescale_factor": 1 / 255, "size": {"height": size[0], "width": size[1]}}
    if multiple:
        processor.update(keep_aspect_ratio=True, ensure_multiple_of=multiple, do_pad=False, size_divisor=None)
    (out / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")

    def forward(images, model=model):
        output = model(preprocess(images, size, resample, multiple))
        return output.logits if "logits" in output else output.predicted_depth

    images = torch.rand(2, 3, 10, 13, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    result = forward(images)
    result.sin().sum().backward()
    tensors = {"images": images, "output": result, "grad.images": images.grad}
    for theirs, saved in watched.items():
        tensors["grad." + saved] = model.get_parameter(theirs).grad
    for other_name, other in (others or {}).items():
        other.load_state_dict(model.state_dict())
        tensors[other_name] = forward(images, other.eval())
    save_file({k: v.detach().float().contiguous() for k, v in tensors.items()}, out / "case.safetensors")
    return forward


def grey(values, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(file)
    return torch.tensor(values.astype(np.int64))


def cross_entropy(logits, labels):
    """SegformerForSemanticSegmentation's loss, row by row."""
    large = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    return torch.stack([F.cross_entropy(x[None], y[None], ignore_index=255) for x, y in zip(large, labels)])


def scaled(depth, size):
    """ControlNet++'s: of the condition's size, the largest depth 1."""
    depth = F.interpolate(depth[:, None], size, mode="bilinear", antialias=True, align_corners=False)[:, 0]
    return depth / depth.amax((1, 2), keepdim=True)


def write_rewards(models):
    rng = np.random.default_rng(4)
    images = torch.tensor(rng.uniform(0, 1, (3, 3, 8, 12)), dtype=torch.float32)
    y, x = np.mgrid[0:8, 0:12]
    labels = [grey((x + k * y) // 3 % 5, HERE / "labels" / f"{k}.png") for k in (1, 2)]
    holes = np.where(x < 5, 255, (x + y) // 3 % 5)
    labels = torch.stack(labels + [grey(holes, HERE / "labels" / "holes.png")])
    depths = torch.stack([grey(200 * x / 12 + 20 * np.sin(k * y) + 25, HERE / "depth" / f"{k}.png") for k in (1, 2, 3)])
    other = images.flip(0)
    with torch.no_grad():
        large = F.interpolate(models["segformer"](other), (8, 12), mode="bilinear", align_corners=False)
        pseudo, estimated = large.argmax(1), scaled(models["dpt"](other), (8, 12))
    given = depths.float() / depths.amax((1, 2), keepdim=True)
    reduced = torch.where(labels == 0, 255, torch.where(labels == 255, 255, labels - 1))

    def depth_reward(name, target):
        return lambda x: -(scaled(models[name](x), (8, 12)) - target).square().mean((1, 2))

    rewards = {
        "segmentation": lambda x: -cross_entropy(models["segformer"](x), labels),
        "segmentation.reduced": lambda x: -cross_entropy(models["segformer"](x), reduced),
        "segmentation.picture": lambda x: -cross_entropy(models["segformer"](x), pseudo),
        "depth": depth_reward("dpt", given),
        "depth.picture": depth_reward("dpt", estimated),
        "depth.depth_anything": depth_reward("depth_anything", given),
    }
    values = {"images": images}
    for name, reward in rewards.items():
        x = images.clone().requires_grad_(True)
        result = reward(x)
        result.sum().backward()
        values[name], values[name + ".grad"] = result.detach(), x.grad
    save_file({k: v.float().contiguous() for k, v in values.items()}, HERE / "rewards.safetensors")


def same(*names):
    return {name: name for name in names}


def main():
    block, saved_block = "segformer.stages.0.blocks.1", "segformer.encoder.block.0.1"
    models = {
        "segformer": write_case("segformer", fill(segformer(), 1), [32, 48], BILINEAR, {
            f"{block}.attention.k_proj.weight": f"{saved_block}.attention.self.key.weight",
            f"{block}.mlp.dwconv.dwconv.weight": f"{saved_block}.mlp.dwconv.dwconv.weight",
            "decode_head.batch_norm.weight": "decode_head.batch_norm.weight"}),
        "dpt": write_case("dpt", fill(dpt(), 2), [12, 12], BICUBIC, same(
            "dpt.embeddings.cls_token", "neck.reassemble_stage.layers.0.resize.weight",
            "neck.reassemble_stage.readout_projects.2.0.weight")),
        "dpt_norms": write_case("dpt_norms", fill(dpt_norms(), 3), [16, 16], BILINEAR, same(
            "dpt.embeddings.position_embeddings", "neck.fusion_stage.layers.1.residual_layer1.batch_norm2.weight")),
        "depth_anything": write_case("depth_anything", fill(depth_anything(), 4), [12, 12], BICUBIC, same(
            "backbone.embeddings.position_embeddings", "backbone.encoder.layer.1.layer_scale1.lambda1",
            "head.conv2.weight"), multiple=4,
            others={"metric": depth_anything(depth_estimation_type="metric", max_depth=20)}),
    }
    write_rewards(models)


if __name__ == "__main__":
    main()

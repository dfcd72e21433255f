"""Writes tests/parity/data/image_rewards/: PNG files with what PIL reads of them, and tiny models with the rewards that
transformers, PIL and numpy compute with them.

    python tests/parity/make_image_rewards.py tests/parity/data/image_rewards tests/parity/data/clip_tokenizer/first

png/: one file a kind of PNG; png.safetensors has NAME -> [3, H, W] as read_png should give it. damaged/: files that must
be refused. classifier/, regressor/, clip/: model directories; head.safetensors: an aesthetic head. values.safetensors:
images [4, 3, 16, 16] and for each reward NAME [4] and NAME.grad, the gradient of its sum; wide, a picture of another
size, and wide.cosine, its cosine with square_a.png. values.json: prompts, classes, file sizes.
"""
import argparse
import io
import json
import pathlib
import shutil
import struct
import zlib

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from scipy import linalg
from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTForImageClassification

MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]
PROMPTS = ["a cat's portrait in the style of van gogh", "the blue sky and the green field", "a red apple",
           "a red apple"]


def picture(height, width, channels, seed):
    """Smooth waves with some noise, uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 8.0
    waves = [np.sin(rng.uniform(0.3, 2) * x + rng.uniform(0.3, 2) * y + rng.uniform(0, 6)) for _ in range(channels)]
    out = np.stack(waves, -1) * 100 + 128 + rng.normal(0, 8, (height, width, channels))
    return out.clip(0, 255).astype(np.uint8).squeeze()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def raw_png(width, height, depth, colour, rows):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def over_white(rgba):
    rgba = rgba.astype(np.float64)
    alpha = rgba[..., 3:] / 255
    return rgba[..., :3] / 255 * alpha + 1 - alpha


def write_pngs(out):
    folder = out / "png"
    folder.mkdir(exist_ok=True)
    expected = {}

    def keep(name, image, value, **options):
        image.save(folder / f"{name}.png", **options)
        value = np.broadcast_to(value[..., None], (*value.shape, 3)) if value.ndim == 2 else value
        expected[name] = torch.tensor(np.ascontiguousarray(value.transpose(2, 0, 1)), dtype=torch.float32)

    rgb, grey, rgba = picture(9, 13, 3, 1), picture(9, 13, 1, 2), picture(9, 13, 4, 3)
    keep("rgb", Image.fromarray(rgb), rgb / 255)
    keep("grey", Image.fromarray(grey), grey / 255)
    keep("rgba", Image.fromarray(rgba), over_white(rgba))
    palette = Image.fromarray(rgb).quantize(7)
    keep("palette", palette, np.asarray(palette.convert("RGB")) / 255)
    keep("palette_clear", palette, over_white(np.asarray(transparent(palette).convert("RGBA"))), transparency=2)
    bits = Image.fromarray(grey).convert("1")
    keep("one_bit", bits, np.asarray(bits).astype(np.float64))
    keep("gamma", Image.fromarray(rgb), rgb / 255)  # a gAMA chunk is put in below: it changes nothing, as in PIL
    data = (folder / "gamma.png").read_bytes()
    (folder / "gamma.png").write_bytes(data[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + data[33:])
    deep = np.random.default_rng(5).integers(0, 65536, (4, 5, 3))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    (folder / "deep.png").write_bytes(raw_png(5, 4, 16, 2, rows))
    expected["deep"] = torch.tensor(deep.transpose(2, 0, 1) / 65535, dtype=torch.float32)
    save_file({k: v.contiguous() for k, v in expected.items()}, out / "png.safetensors")


def transparent(palette):
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", transparency=2)
    return Image.open(io.BytesIO(buffer.getvalue()))


def write_damaged(out):
    folder = out / "damaged"
    folder.mkdir(exist_ok=True)
    good = (out / "png" / "rgb.png").read_bytes()
    at = good.index(b"IDAT")
    files = {
        "cut": good[: at + 40],
        "cut_header": good[:20],
        "signature_only": good[:8],
        "checksum": good[:-13] + bytes([good[-13] ^ 1]) + good[-12:],
        "data": good[: at + 10] + bytes([good[at + 10] ^ 1]) + good[at + 11 :],
        "huge": raw_png(2_000_000_000, 2_000_000_000, 8, 2, b"\0" * 100),
        "bomb": raw_png(16384, 16384, 16, 6, b"\0" * 100),
        "zero_width": raw_png(0, 4, 8, 2, b"\0" * 4),
        "bad_depth": raw_png(4, 4, 7, 2, b"\0" * 100),
        "few_rows": raw_png(40, 40, 8, 2, b"\0" * 500),
        "no_palette": raw_png(4, 4, 8, 3, b"\0" * 20),
        "not_png": b"GIF89a, this is something else",
        "empty": b"",
    }
    for name, data in files.items():
        (folder / f"{name}.png").write_bytes(data)


def fill(model, seed):
    """Weights large enough that all inputs matter."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if value.is_floating_point() and name != "logit_scale":
            noise = torch.randn(value.shape, generator=generator) * 0.25
            value.copy_(noise + (1 if "norm" in name and name.endswith("weight") else 0))
    return model.eval()


def classifier(out, labels):
    config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=16,
                       patch_size=4, num_labels=len(labels), id2label=dict(enumerate(labels)),
                       label2id={l: i for i, l in enumerate(labels)})
    model = fill(ViTForImageClassification(config), len(labels))
    model.save_pretrained(out)
    preprocessor = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.5, 0.6, 0.7], "size": {"height": 16, "width": 16}}
    (out / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    mean, std = (torch.tensor(preprocessor[k]).view(3, 1, 1) for k in ("image_mean", "image_std"))
    return lambda images: model((images - mean) / std).logits


def clip(out, tokenizer_files):
    names = ["vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"]
    out.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(tokenizer_files / name, out / name)
    vocab = json.loads((out / "vocab.json").read_text())
    layers = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 24}
    end, begin = vocab["<|endoftext|>"], vocab["<|startoftext|>"]
    config = CLIPConfig(
        text_config=dict(layers, vocab_size=len(vocab), eos_token_id=end, bos_token_id=begin, pad_token_id=end,
                         max_position_embeddings=32),
        vision_config=dict(layers, image_size=16, patch_size=4), projection_dim=12)
    model = fill(CLIPModel(config), 7)
    model.save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(
        {"image_mean": MEAN, "image_std": STD, "size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}))
    from transformers import CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(out)

    def image_features(images):
        mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
        hidden = model.vision_model((images - mean) / std).pooler_output
        return torch.nn.functional.normalize(model.visual_projection(hidden), dim=-1)

    def text_features(texts):
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        hidden = model.text_model(**tokens).pooler_output
        return torch.nn.functional.normalize(model.text_projection(hidden), dim=-1)

    return image_features, text_features


def aesthetic_head(file):
    generator = torch.Generator().manual_seed(3)
    sizes = [12, 16, 8, 6, 4, 1]
    layers = {}
    for number, (size, after) in zip((0, 2, 4, 6, 7), zip(sizes, sizes[1:])):
        layers[f"layers.{number}.weight"] = torch.randn(after, size, generator=generator) / size**0.5
        layers[f"layers.{number}.bias"] = torch.randn(after, generator=generator)
    save_file(layers, file)

    def head(x):
        for number in (0, 2, 4, 6, 7):
            x = torch.nn.functional.linear(x, layers[f"layers.{number}.weight"], layers[f"layers.{number}.bias"])
        return x.squeeze(1)

    return head


def jpeg_bytes(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return buffer.tell()


def frechet(features, reference):
    """Of the two sets' Gaussians, with scipy's matrix square root."""
    a, b = np.cov(features, rowvar=False), np.cov(reference, rowvar=False)
    root = linalg.sqrtm(a @ b)
    return float(((features.mean(0) - reference.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root.real))


def vendi(features):
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def without(features, i):
    return np.delete(features, i, 0)


def write_values(out, tokenizer_files):
    images = torch.stack([torch.tensor(picture(16, 16, 3, 20 + i)).permute(2, 0, 1) / 255 for i in range(4)])
    values, classes = {"images": images}, [2, 0, 1, 2]
    labels = ["tench", "7up", "owl"]
    logits, value = classifier(out / "classifier", labels), classifier(out / "regressor", ["value"])
    image_features, text_features = clip(out / "clip", tokenizer_files)
    head = aesthetic_head(out / "head.safetensors")
    texts = text_features(PROMPTS).detach()
    reference = torch.stack([read(out / "png" / f"{name}.png") for name in ("square_a", "square_b")])
    target = image_features(reference).detach()[[0, 1, 0, 1]]
    rewards = {
        "log_probability": lambda x: logits(x).log_softmax(1)[range(4), classes],
        "probability": lambda x: logits(x).softmax(1)[range(4), classes],
        "logit": lambda x: logits(x)[:, 1],
        "value": lambda x: value(x)[:, 0],
        "clip_similarity": lambda x: 100 * (image_features(x) * texts).sum(1),
        "aesthetic": lambda x: head(image_features(x)),
        "feature_cosine": lambda x: (image_features(x) * target).sum(1),
    }
    for name, reward in rewards.items():
        x = images.clone().requires_grad_(True)
        result = reward(x)
        result.sum().backward()
        values[name], values[name + ".grad"] = result.detach(), x.grad
    wide = torch.tensor(picture(40, 52, 3, 31)).permute(2, 0, 1)[None] / 255
    small = torch.nn.functional.interpolate(wide, (16, 20), mode="bicubic", antialias=True, align_corners=False)
    values["wide"], values["wide.cosine"] = wide, (image_features(small[..., 2:18]) * target[:1]).sum(1).detach()
    write_distributions(values)
    save_file({k: v.float().contiguous() for k, v in values.items()}, out / "values.safetensors")
    pixels = [picture(16, 16, 3, 20 + i) for i in range(4)]
    sizes = {str(q): [jpeg_bytes(p, q) for p in pixels] for q in (50, 95, 97)}
    (out / "values.json").write_text(json.dumps(
        {"prompts": PROMPTS, "classes": [labels[2], "0", "1", labels[2]], "jpeg_bytes": sizes}, indent=1) + "\n")


def read(file):
    return torch.tensor(np.asarray(Image.open(file).convert("RGB"))).permute(2, 0, 1) / 255


def write_distributions(values):
    """On pixels: pictures of 2 x 2, so that 12 features meet 20 samples."""
    rng = np.random.default_rng(9)
    sample, reference = rng.uniform(0, 1, (20, 3, 2, 2)), rng.uniform(0.2, 0.7, (30, 3, 2, 2))
    x, r = sample.reshape(20, 12), reference.reshape(30, 12)
    values["small"], values["small.reference"] = torch.tensor(sample), torch.tensor(r)
    values["frechet"] = torch.tensor([frechet(without(x, i), r) - frechet(x, r) for i in range(20)])
    values["vendi"] = torch.tensor([vendi(x) - vendi(without(x, i)) for i in range(20)])
    values["vendi.groups"] = torch.tensor([vendi(g) - vendi(without(g, i)) for g in (x[:8], x[8:]) for i in range(len(g))])
    pictures = values["images"].numpy()
    patches = pictures.reshape(4, 3, 4, 4, 4, 4).transpose(0, 2, 4, 1, 3, 5).reshape(4, 16, 48)
    colours = pictures.transpose(0, 2, 3, 1).reshape(4, 256, 3)
    patch_set, colour_set = rng.uniform(0, 1, (200, 48)), rng.uniform(0, 1, (50, 3))
    values["patch.reference"], values["colour.reference"] = torch.tensor(patch_set), torch.tensor(colour_set)
    values["dragon.patch"] = torch.tensor([-frechet(p, patch_set) for p in patches])
    values["dragon.colour"] = torch.tensor([-frechet(p, colour_set) for p in colours])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("tokenizer", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_pngs(arguments.out)
    write_damaged(arguments.out)
    for name, seed in (("square_a", 41), ("square_b", 42)):
        Image.fromarray(picture(16, 16, 3, seed)).save(arguments.out / "png" / f"{name}.png")
    write_values(arguments.out, arguments.tokenizer)


if __name__ == "__main__":
    main()

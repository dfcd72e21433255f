"""ViTForImageClassification of transformers: a directory, images, logits and gradients -> tests/parity/data/vit/.

    python tests/parity/make_vit.py
"""
import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification

HERE = pathlib.Path(__file__).parent / "data" / "vit"


def main():
    torch.manual_seed(0)
    config = ViTConfig(image_size=8, patch_size=2, num_channels=3, hidden_size=16, num_hidden_layers=2,
                       num_attention_heads=2, intermediate_size=32, num_labels=4)
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(HERE)
    (HERE / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}, indent=1) + "\n")
    images = torch.rand(3, 3, 12, 10, requires_grad=True)
    resized = torch.nn.functional.interpolate(images, (8, 8), mode="bicubic", antialias=True)
    mean, std = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
    output = model.vit((resized - mean) / std)
    logits = model.classifier(output.last_hidden_state[:, 0])
    logits.log_softmax(1)[:, 1].sum().backward()
    save_file({"images": images.detach(), "hidden": output.last_hidden_state.detach(), "logits": logits.detach(),
               "grad.images": images.grad.contiguous(), "grad.classifier.weight": model.classifier.weight.grad,
               "grad.vit.embeddings.cls_token": model.vit.embeddings.cls_token.grad}, HERE / "case.safetensors")


if __name__ == "__main__":
    main()

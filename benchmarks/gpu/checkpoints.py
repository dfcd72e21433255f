"""Writes random checkpoints of the measured shapes, made on the device, with a small byte-level tokenizer."""
import json
import time

from shapes import SHAPES, parameters, shape, tensors


def write_tokenizer(folder):
    """256 bytes, a padding token and an end token: a text of n ASCII characters has n tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in ("<|pad|>", "<|eos|>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|eos|>", "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False}, indent=1))


def write(name, folder, device, smoke):
    import torch
    from safetensors.torch import save_file
    config = shape(name, smoke)
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator(device=device).manual_seed(0)
    weights = {}
    for key, size in tensors(config):
        if key.endswith("norm.weight"):
            weights[key] = torch.ones(size, dtype=torch.bfloat16)
        else:
            weights[key] = torch.empty(size, dtype=torch.bfloat16, device=device).normal_(0, 0.02, generator=generator).cpu()
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    write_tokenizer(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": config["eos_token_id"], "do_sample": True}))
    (folder / "config.json").write_text(json.dumps(config, indent=1))  # last: the checkpoint is whole


def ensure(job, name):
    """The folder of a checkpoint, which is written where it is not there yet."""
    folder = job.settings.models / name
    if not (folder / "config.json").exists():
        begin = time.time()
        write(name, folder, job.settings.device, job.settings.smoke)
        job.say(f"wrote {name} in {time.time() - begin:.1f} s")
    return folder


def run(job):
    for name in SHAPES:
        begin = time.time()
        ensure(job, name)
        job.record(name, {"parameters": parameters(shape(name, job.settings.smoke)), "seconds": time.time() - begin})

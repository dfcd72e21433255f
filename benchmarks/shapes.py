"""Random checkpoints of real models' shapes, for the benchmarks. Needs torch and transformers."""
import json
import pathlib
import shutil

QWEN2 = dict(tie_word_embeddings=True, rope_parameters={"rope_theta": 1e6, "rope_type": "default"})


def config_of(shape):
    from transformers import GPT2Config, Qwen2Config
    if shape == "gpt2-124m":
        return GPT2Config(vocab_size=50304)
    if shape == "qwen2-152m":
        return Qwen2Config(vocab_size=49152, hidden_size=768, intermediate_size=2624, num_hidden_layers=15, num_attention_heads=12,
                           num_key_value_heads=4, max_position_embeddings=4096, **QWEN2)
    if shape == "qwen2-494m":
        return Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14,
                           num_key_value_heads=2, max_position_embeddings=32768, **QWEN2)
    if shape == "qwen2-vocabulary":
        return Qwen2Config(vocab_size=151936, hidden_size=128, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
                           num_key_value_heads=2, max_position_embeddings=4096, **QWEN2)
    if shape == "tiny-1m":
        return Qwen2Config(vocab_size=512, hidden_size=128, intermediate_size=384, num_hidden_layers=4, num_attention_heads=4,
                           num_key_value_heads=2, tie_word_embeddings=True, max_position_embeddings=256)
    raise SystemExit(f"there is no shape '{shape}'; known: gpt2-124m, qwen2-152m, qwen2-494m, qwen2-vocabulary, tiny-1m")


def make_checkpoint(shape, directory):
    """Saves random weights; returns how many of them one decoding step reads."""
    import torch
    from transformers import AutoModelForCausalLM
    torch.manual_seed(0)
    config = config_of(shape)
    config.eos_token_id = None
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory)
    positions = config.n_positions * config.n_embd if shape.startswith("gpt2") else 0
    return sum(p.numel() for p in model.parameters()) - positions


def with_tokenizer_of(source, directory):
    """Gives a checkpoint the tokenizer of `rft data`'s model, whose few tokens are the first of its vocabulary."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(pathlib.Path(source) / name, pathlib.Path(directory) / name)


def without_eos(model):
    """Completions of rft then run to their full length; TRL gets the same by min_new_tokens."""
    for name in ("config.json", "tokenizer_config.json"):
        settings = json.loads((model / name).read_text())
        settings.pop("eos_token", None)
        if "eos_token_id" in settings:
            settings["eos_token_id"] = None
        (model / name).write_text(json.dumps(settings))

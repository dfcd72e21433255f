"""The models that are measured: config.json as published, and what a step of each has to read and compute."""

QWEN25 = {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": 257, "eos_token_id": 257,
          "hidden_act": "silu", "initializer_range": 0.02, "model_type": "qwen2", "rms_norm_eps": 1e-6,
          "rope_theta": 1000000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
          "transformers_version": "4.40.1", "use_cache": True, "use_mrope": False, "use_sliding_window": False,
          "vocab_size": 151936}
QWEN3 = {"architectures": ["Qwen3ForCausalLM"], "attention_bias": False, "attention_dropout": 0.0,
         "bos_token_id": 257, "eos_token_id": 257, "head_dim": 128, "hidden_act": "silu", "initializer_range": 0.02,
         "max_position_embeddings": 40960, "max_window_layers": 28, "model_type": "qwen3", "rms_norm_eps": 1e-6,
         "rope_scaling": None, "rope_theta": 1000000, "sliding_window": None, "tie_word_embeddings": True,
         "torch_dtype": "bfloat16", "transformers_version": "4.51.0", "use_cache": True, "use_sliding_window": False,
         "vocab_size": 151936}

SHAPES = {
    "qwen2.5-0.5b": {**QWEN25, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                     "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
                     "max_window_layers": 24, "sliding_window": 32768},
    "qwen2.5-1.5b": {**QWEN25, "hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28,
                     "num_attention_heads": 12, "num_key_value_heads": 2, "max_position_embeddings": 131072,
                     "max_window_layers": 28, "sliding_window": 131072},
    "qwen3-0.6b": {**QWEN3, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
                   "num_attention_heads": 16, "num_key_value_heads": 8},
    "qwen3-1.7b": {**QWEN3, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28,
                   "num_attention_heads": 16, "num_key_value_heads": 8},
}
TINY = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 4096}


def shape(name, smoke=False):
    """The config.json of a model; a toy of the same architecture for a smoke run."""
    config = dict(SHAPES[name])
    if smoke:
        config.update(TINY)
        if "head_dim" in config:
            config["head_dim"] = 16
        if "max_window_layers" in config:
            config["max_window_layers"] = 2
        config["bos_token_id"] = config["eos_token_id"] = 257
    return config


def head_dim(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def tensors(config):
    """Yields (name, shape) of every tensor of the checkpoint; the head is the embedding table."""
    d, f, width = config["hidden_size"], config["intermediate_size"], head_dim(config)
    q, kv = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    yield "model.embed_tokens.weight", (config["vocab_size"], d)
    yield "model.norm.weight", (d,)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        yield layer + "input_layernorm.weight", (d,)
        yield layer + "post_attention_layernorm.weight", (d,)
        for name, rows, columns in (("q", q, d), ("k", kv, d), ("v", kv, d), ("o", d, q)):
            yield layer + f"self_attn.{name}_proj.weight", (rows, columns)
            if config["model_type"] == "qwen2" and name != "o":
                yield layer + f"self_attn.{name}_proj.bias", (rows,)
        if config["model_type"] == "qwen3":
            yield layer + "self_attn.q_norm.weight", (width,)
            yield layer + "self_attn.k_norm.weight", (width,)
        for name, rows, columns in (("gate", f, d), ("up", f, d), ("down", d, f)):
            yield layer + f"mlp.{name}_proj.weight", (rows, columns)


def parameters(config):
    total = 0
    for _, size in tensors(config):
        total += size[0] * (size[1] if len(size) > 1 else 1)
    return total


def step_bytes(config, batch, context, element=2):
    """Bytes that one decoding step must read: every weight once, the head included, and each row's keys and values."""
    per_token = 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * head_dim(config)
    return element * (parameters(config) + batch * context * per_token)


def train_flops(config, length, frozen=False):
    """Floating-point operations a token of a training step, causal attention over rows of `length` included.

    6 N forward and backward; 4 N where the weights are frozen (LoRA; its own operations are left out).
    """
    width = config["num_attention_heads"] * head_dim(config)
    attention = 6 * config["num_hidden_layers"] * width * length
    return (4 if frozen else 6) * parameters(config) + attention

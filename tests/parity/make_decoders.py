"""Writes tiny random checkpoints and PEFT adapters, with what transformers and peft compute from them.

    HF_HUB_OFFLINE=1 python tests/parity/make_decoders.py tests/parity/data/decoders [NAME...]

NAMEs are those to write; all where there are none.
Needs torch, transformers, peft and safetensors. Each directory holds expected.json:
  rows       ragged rows of token ids
  logp32/64  log-probability of each row's tokens 1.. in float32 (as transformers computes it) and in float64
  gradients  of the mean negative log-probability over all rows, float64: for each weight (each adapter weight), by its
             name in the file, sum_i g_i cos(i) and sum_i g_i sin(i / 2) over the flat gradient
  balance    of a mixture of experts: transformers' load-balancing loss of all rows together, and its gradients
"""

import json
import pathlib
import shutil
import sys

import peft
import torch
import transformers
from torch.overrides import TorchFunctionMode

LENGTHS = [2, 20, 7, 13, 3]
WANTED = sys.argv[2:]


class Float64(TorchFunctionMode):
    """Replaces every float32 that transformers asks for (norms, rotary angles) by float64."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        def wide(value):
            return torch.float64 if value is torch.float32 else value

        if function is torch.Tensor.float:
            function = torch.Tensor.double
        return function(*map(wide, args), **{key: wide(value) for key, value in (kwargs or {}).items()})


def randomize(model, generator):
    """transformers starts biases at 0 and norms at 1; here each must matter."""
    with torch.no_grad():
        for value in model.parameters():
            if value.dim() == 1:
                value += 0.3 * torch.randn(value.shape, generator=generator)


def log_probabilities(model, rows):
    out = []
    for row in rows:
        ids = torch.tensor([row])
        logp = model(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
        out.append(logp.gather(1, ids[0, 1:, None])[:, 0])
    return out


def load(directory):
    dtype = torch.get_default_dtype()
    model = transformers.AutoModelForCausalLM.from_pretrained(directory, dtype=dtype, attn_implementation="eager",
                                                              experts_implementation="eager")
    return model.eval()


def adapted(model, adapter):
    if adapter is None:
        return model
    return peft.PeftModel.from_pretrained(model, adapter, is_trainable=True).to(torch.get_default_dtype()).eval()


def projections(gradient):
    flat = gradient.double().flatten()
    i = torch.arange(flat.numel(), dtype=torch.float64)
    return [float(flat @ i.cos()), float(flat @ (i / 2).sin())]


def balance_of(model, rows):
    experts = getattr(model.config, "num_local_experts", None) or getattr(model.config, "num_experts", None)
    if not experts:
        return {}
    model.zero_grad()
    with Float64():
        logits = [model(input_ids=torch.tensor([row]), use_cache=False, output_router_logits=True).router_logits
                  for row in rows]  # fmt: skip
        module = sys.modules[type(model).__module__]
        layers = tuple(torch.cat(layer) for layer in zip(*logits))
        loss = module.load_balancing_loss_func(layers, experts, model.config.num_experts_per_tok)
        loss.backward()
    gradients = {
        part: projections(gradient)
        for name, value in model.named_parameters()
        if value.grad is not None
        for part, gradient in as_stored(name, value.grad, model.config.model_type)
    }
    return {"balance": {"value": loss.item(), "gradients": gradients}}


def as_stored(name, gradient, family):
    """transformers keeps a layer's experts in one parameter; save_pretrained writes each on its own."""
    mixtral = family == "mixtral"
    name = name.replace(".mlp.", ".block_sparse_moe.") if mixtral else name
    root, _, leaf = name.rpartition(".")
    if not root.endswith(".experts"):
        return [(name, gradient)]
    gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
    out = []
    for e, one in enumerate(gradient):
        parts = [(down, one)] if leaf == "down_proj" else zip((gate, up), one.chunk(2))
        out += [(f"{root}.{e}.{part}.weight", value) for part, value in parts]
    return out


def expected(directory, adapter=None, seed=0):
    single = adapted(load(directory), adapter)
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(0, single.config.vocab_size, (n,), generator=generator).tolist() for n in LENGTHS]
    with torch.no_grad():
        logp32 = log_probabilities(single, rows)
    torch.set_default_dtype(torch.float64)
    with Float64():
        double = load(directory)
    double = adapted(double, adapter)
    with Float64():
        logp64 = log_probabilities(double, rows)
        torch.cat(logp64).mean().neg().backward()
    torch.set_default_dtype(torch.float32)
    drift = (torch.cat(logp32) - torch.cat(logp64)).abs().max().item()
    assert drift < 1e-3, drift
    print(f"{adapter or directory}: float32 differs from float64 by {drift:.1e}, mean logp {torch.cat(logp64).mean():.3f}")
    gradients = {
        part.replace(".default", "").replace(".modules_to_save", ""): projections(gradient)
        for name, value in double.named_parameters()
        if value.requires_grad
        for part, gradient in as_stored(name, value.grad, double.config.model_type)
    }
    balance = balance_of(double, rows)
    lists = lambda tensors: [tensor.tolist() for tensor in tensors]
    return {"rows": rows, "logp32": lists(logp32), "logp64": lists(logp64), "gradients": gradients, **balance}


def write_json(path, value):
    path.write_text(json.dumps(value) + "\n")


def checkpoint(root, name, config, dtype=torch.float32, **save):
    directory = root / name
    if WANTED and name not in WANTED:
        return
    shutil.rmtree(directory, ignore_errors=True)
    generator = torch.manual_seed(len(name))
    model = transformers.AutoModelForCausalLM.from_config(config)
    randomize(model, generator)
    model.to(dtype).save_pretrained(directory, **save)
    (directory / "generation_config.json").unlink(missing_ok=True)
    write_json(directory / "expected.json", expected(directory, seed=len(name)))


def adapter(root, base, name, **options):
    directory = root / name
    if WANTED and name not in WANTED:
        return
    shutil.rmtree(directory, ignore_errors=True)
    torch.manual_seed(len(name))
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", **options)
    model = peft.get_peft_model(load(root / base), config)
    with torch.no_grad():  # a fresh adapter's B is zero, and it changes nothing
        for key, value in model.named_parameters():
            if "lora_B" in key:
                value.normal_(std=0.2)
            if "lora_magnitude" in key:
                value.mul_(torch.empty_like(value).uniform_(0.5, 1.5))
            if "modules_to_save" in key:
                value.add_(0.1 * torch.randn(value.shape))
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(directory)
    (directory / "README.md").unlink()
    write_json(directory / "expected.json", {"base": base, **expected(root / base, directory, seed=len(name))})


def families(root, small):
    """Windows of 6 and 9 positions are shorter than the longest rows; each kind of layer occurs."""
    t = transformers
    three = {**small, "num_hidden_layers": 3}
    yarn = dict(rope_type="yarn", rope_theta=100.0, factor=4.0, original_max_position_embeddings=16)
    longrope = dict(rope_type="longrope", rope_theta=1000.0, short_factor=[1.0, 1.3, 2.0], long_factor=[2.0, 3.0, 4.0],
                    partial_rotary_factor=0.75)  # fmt: skip
    long = {**small, "max_position_embeddings": 128}
    cap = dict(head_dim=12, query_pre_attn_scalar=10, sliding_window=6)
    checkpoint(root, "mistral", t.MistralConfig(**small, sliding_window=9))
    checkpoint(root, "mixtral", t.MixtralConfig(**small, num_local_experts=4, num_experts_per_tok=2))
    checkpoint(root, "qwen3_moe", t.Qwen3MoeConfig(
        **three, head_dim=8, num_experts=5, num_experts_per_tok=3, moe_intermediate_size=12, mlp_only_layers=[1],
        norm_topk_prob=True))  # fmt: skip
    checkpoint(root, "qwen3_moe_plain", t.Qwen3MoeConfig(
        **small, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=12, decoder_sparse_step=2,
        norm_topk_prob=False))  # fmt: skip
    checkpoint(root, "gemma2", t.Gemma2Config(**{**small, **cap}, attn_logit_softcapping=3.0, final_logit_softcapping=4.0))
    checkpoint(root, "gemma3", t.Gemma3TextConfig(**{**three, **cap}, sliding_window_pattern=3, rope_parameters={
        "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 50.0}}))  # fmt: skip
    checkpoint(root, "phi3", t.Phi3Config(**small, pad_token_id=None, sliding_window=9))
    checkpoint(root, "phi3_longrope", t.Phi3Config(
        **long, pad_token_id=None, original_max_position_embeddings=32, rope_parameters=longrope))  # fmt: skip
    checkpoint(root, "olmo2", t.Olmo2Config(**small, pad_token_id=None))
    checkpoint(root, "smollm3", t.SmolLM3Config(
        **three, pad_token_id=None, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6))  # fmt: skip
    checkpoint(root, "qwen3_sliding_yarn", t.Qwen3Config(
        **small, head_dim=8, rope_parameters=yarn, use_sliding_window=True, sliding_window=6, max_window_layers=1))  # fmt: skip
    checkpoint(root, "llama_dynamic", t.LlamaConfig(
        **small, rope_parameters=dict(rope_type="dynamic", rope_theta=100.0, factor=2.0)))  # fmt: skip


def main(root):
    root.mkdir(parents=True, exist_ok=True)
    small = dict(vocab_size=64, hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3,
                 bos_token_id=None, eos_token_id=1)  # fmt: skip
    llama3 = dict(rope_type="llama3", rope_theta=100.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                  original_max_position_embeddings=32)  # fmt: skip
    linear = dict(rope_type="linear", rope_theta=1000.0, factor=2.0)
    qwen2, qwen3, llama = transformers.Qwen2Config, transformers.Qwen3Config, transformers.LlamaConfig
    gpt2 = transformers.GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=4, n_inner=48, n_positions=32, initializer_range=0.3,
        bos_token_id=None, eos_token_id=1)  # fmt: skip

    checkpoint(root, "qwen2_tied", qwen2(**small, tie_word_embeddings=True))
    checkpoint(root, "qwen3_untied", qwen3(**small, head_dim=12, tie_word_embeddings=False))
    checkpoint(root, "llama3_rope", llama(**small, rope_parameters=llama3, tie_word_embeddings=True))
    checkpoint(root, "llama_biases", llama(**small, attention_bias=True, mlp_bias=True, tie_word_embeddings=False))
    checkpoint(root, "gpt2", gpt2)
    checkpoint(root, "qwen2_sharded", qwen2(**small, rope_parameters=linear), max_shard_size="20KB")
    checkpoint(root, "llama_bf16", llama(**small), dtype=torch.bfloat16)

    families(root, small)

    adapter(root, "qwen2_tied", "qwen2_tied_lora_qv", target_modules=["q_proj", "v_proj"], lora_alpha=6)
    adapter(root, "llama_biases", "llama_biases_lora_all", target_modules="all-linear", lora_alpha=5, use_rslora=True)
    adapter(root, "gpt2", "gpt2_lora_c_attn", target_modules=["c_attn"], lora_alpha=8, fan_in_fan_out=True)
    adapter(root, "gpt2", "gpt2_lora_all", target_modules="all-linear", lora_alpha=8, fan_in_fan_out=True)
    adapter(root, "gpt2", "gpt2_dora", target_modules=["c_attn", "c_fc"], lora_alpha=8, fan_in_fan_out=True, use_dora=True)
    adapter(root, "llama_biases", "llama_biases_dora", target_modules="all-linear", lora_alpha=5, use_dora=True)
    adapter(root, "qwen2_tied", "qwen2_tied_lora_patterns", target_modules=r".*\.(q_proj|k_proj|up_proj)", lora_alpha=6,
            use_rslora=True, rank_pattern={"q_proj": 2, r"layers\.1\.mlp\..*": 6},
            alpha_pattern={"k_proj": 3, "^model.layers.0.mlp.up_proj": 1.5})  # fmt: skip
    adapter(root, "qwen2_tied", "qwen2_tied_whole_embedding", target_modules=["q_proj"], lora_alpha=6,
            modules_to_save=["embed_tokens"])  # fmt: skip
    adapter(root, "qwen3_untied", "qwen3_whole_head_norms", target_modules=["v_proj"], lora_alpha=6,
            modules_to_save=["lm_head", "norm"])  # fmt: skip
    adapter(root, "gpt2", "gpt2_whole_both", target_modules=["c_attn"], lora_alpha=6, fan_in_fan_out=True,
            modules_to_save=["wte", "wpe", "lm_head", "ln_f"])  # fmt: skip


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

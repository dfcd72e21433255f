"""Encoder-decoder models of transformers (T5ForConditionalGeneration, v1.0 and v1.1) with a tokenizer: hidden states,
log-probabilities, entropies and every gradient in float64, and greedy generations; and PEFT's adapters on one of them ->
tests/parity/data/seq2seq/.

    python tests/parity/make_seq2seq.py
"""
import json
import pathlib

import peft
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration
from transformers.models.t5.modeling_t5 import T5LayerNorm

DATA = pathlib.Path(__file__).parent / "data"
HERE = DATA / "seq2seq"
PROMPTS = ["a small red fox", "the large boat over the sea", "three cats sleeping under the house at night and two dogs",
           "storm", "watercolour of a bird"]
CONFIG = dict(vocab_size=70, d_model=12, d_kv=4, d_ff=20, num_layers=3, num_decoder_layers=2, num_heads=3,
              relative_attention_num_buckets=8, relative_attention_max_distance=20, dropout_rate=0.0,
              decoder_start_token_id=0)
TEMPERATURE = 0.7
NORM = T5LayerNorm.forward


def tokenizer():
    """Fewer ids than the model has, as T5's has fewer than its own."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_file(str(DATA / "tokenizers" / "unigram.json")),
                                   pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512)


def model(**more):
    made = T5ForConditionalGeneration(T5Config(**CONFIG, **more)).eval()
    if more.get("tie_word_embeddings") is False:  # transformers 5 makes it tied, and reads it untied where it is
        made.lm_head.weight = torch.nn.Parameter(0.4 * torch.randn_like(made.shared.weight))
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "relative" in name:
                parameter.copy_(torch.randn_like(parameter))
            elif parameter is not made.shared.weight:
                parameter.mul_(1.5)
    return made


def norm_in_float64(self, x):
    """transformers takes the mean of squares in float32 whatever the weights are."""
    return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask


def judged(made, prompts, answers):
    """Of answers k and k + 1 to prompt k: what the packed rows hold, row by row."""
    made = made.double()
    T5LayerNorm.forward = norm_in_float64
    ids, mask = padded([p for p in prompts for _ in range(2)])
    targets, kept = padded(answers)
    states = {}
    made.lm_head.register_forward_pre_hook(lambda _, inputs: states.update(hidden=inputs[0]))
    out = made(input_ids=ids, attention_mask=mask, decoder_input_ids=made._shift_right(targets),
               decoder_attention_mask=kept)
    logp = (out.logits / TEMPERATURE).log_softmax(-1)
    chosen = logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)[kept.bool()]
    entropy = -(logp.exp() * logp).sum(-1)[kept.bool()]
    weight = torch.linspace(0.5, 1.5, chosen.numel(), dtype=torch.float64)
    (chosen * weight + 0.3 * entropy).sum().backward()
    tensors = {"hidden": states["hidden"][kept.bool()], "logp": chosen, "entropy": entropy}
    return {**tensors, **{f"grad.{n}": p.grad for n, p in made.named_parameters()}}


def case(name, made):
    T5LayerNorm.forward = NORM
    directory = HERE / name
    words = tokenizer()
    made.save_pretrained(directory)
    words.save_pretrained(directory)
    prompts = [words(p).input_ids for p in PROMPTS]
    generator = torch.Generator().manual_seed(1)
    answers = [torch.randint(2, 70, (int(n),), generator=generator).tolist() + [1]
               for n in torch.randint(1, 14, (2 * len(prompts),), generator=generator)]
    rows = []
    for text, ids in zip(PROMPTS, prompts):
        row = {"prompt": text, "prompt_ids": ids}
        for key, more in [("greedy", {}), ("penalised", {"repetition_penalty": 1.4})]:
            made.generation_config.eos_token_id = 1
            row[key] = made.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, **more)[0, 1:].tolist()
        rows.append(row)
    (directory / "cases.json").write_text(json.dumps({"rows": rows, "answers": answers}) + "\n")
    tensors = {key: value.detach().contiguous() for key, value in judged(made, prompts, answers).items()}
    save_file(tensors, directory / "case.safetensors")
    for row in rows:
        print(name, row["greedy"], row["penalised"])


def adapted(base):
    """PEFT's LoRA on a case: what it computes, and its gradients by the names in its file."""
    T5LayerNorm.forward = NORM
    directory = HERE / f"{base}_lora"
    made = T5ForConditionalGeneration.from_pretrained(HERE / base)
    config = peft.LoraConfig(r=3, task_type="SEQ_2_SEQ_LM", target_modules=["q", "v", "wo"], lora_alpha=7,
                             rank_pattern={"decoder.*wo": 2})
    model = peft.get_peft_model(made, config).eval()
    with torch.no_grad():  # a fresh adapter's B is zero, and it changes nothing
        for name, value in model.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.3)
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(directory)
    (directory / "README.md").unlink()
    cases = json.loads((HERE / base / "cases.json").read_text())
    found = judged(made, [row["prompt_ids"] for row in cases["rows"]], cases["answers"])
    kept = {"logp": found["logp"], **{name.replace("grad.", "grad.base_model.model.").replace(".default", ""): value
                                      for name, value in found.items() if "lora_" in name}}
    save_file({name: value.detach().contiguous() for name, value in kept.items()}, directory / "case.safetensors")


def main():
    torch.manual_seed(3)
    case("v1_0", model(feed_forward_proj="relu"))
    case("v1_1", model(feed_forward_proj="gated-gelu", tie_word_embeddings=False))
    adapted("v1_1")


if __name__ == "__main__":
    main()

"""Encoder-decoder models of transformers beside T5 (mT5, UMT5, BART, mBART, Pegasus), each with a tokenizer: hidden
states, log-probabilities, entropies and every gradient in float64, and greedy generations ->
tests/parity/data/seq2seq/.

    python tests/parity/make_seq2seq_families.py
"""
import json

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (BartConfig, BartForConditionalGeneration, MBartConfig, MBartForConditionalGeneration, MT5Config,
                          MT5ForConditionalGeneration, PegasusConfig, PegasusForConditionalGeneration,
                          PreTrainedTokenizerFast, UMT5Config, UMT5ForConditionalGeneration)
from transformers.models.mt5.modeling_mt5 import MT5LayerNorm
from transformers.models.umt5.modeling_umt5 import UMT5LayerNorm

from make_seq2seq import CONFIG, HERE, PROMPTS, TEMPERATURE, norm_in_float64, padded, tokenizer

NORMS = {kind: kind.forward for kind in (MT5LayerNorm, UMT5LayerNorm)}
SIZES = dict(d_model=12, encoder_layers=2, decoder_layers=3, encoder_attention_heads=3, decoder_attention_heads=2,
             encoder_ffn_dim=20, decoder_ffn_dim=16, max_position_embeddings=48, dropout=0.0)


def framed():
    """A byte-level tokenizer that puts <s> and </s> around a text, as BART's."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer, words.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    words.train_from_iterator(PROMPTS + ["the quick brown dogs and cats"] * 3, trainers.BpeTrainer(
        vocab_size=70, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False))
    words.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<s>", eos_token="</s>", pad_token="<pad>",
                                   unk_token="<unk>", mask_token="<mask>", model_max_length=48)


def shaken(made, scale):
    """Far from the usual start, where a wrong sign or scale would hardly show."""
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if not parameter.requires_grad:
                continue
            if parameter.dim() == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
            elif "relative" in name:
                parameter.copy_(torch.randn_like(parameter))
            else:
                parameter.copy_(torch.randn_like(parameter) * (scale if "shared" in name else 2.0 if "embed_positions" in name else 0.6))
    return made.eval()


def judged(made, prompts, answers):
    """Of answers k and k + 1 to prompt k: what the packed rows hold, row by row."""
    made = made.double()
    for kind in NORMS:
        kind.forward = norm_in_float64
    ids, mask = padded([p for p in prompts for _ in range(2)])
    targets, kept = padded(answers)
    start = torch.full((len(answers), 1), made.config.decoder_start_token_id)
    states = {}
    made.lm_head.register_forward_pre_hook(lambda _, inputs: states.update(hidden=inputs[0]))
    out = made(input_ids=ids, attention_mask=mask, decoder_input_ids=torch.cat([start, targets[:, :-1]], 1),
               decoder_attention_mask=torch.cat([torch.ones_like(start), kept[:, :-1]], 1))
    logp = (out.logits / TEMPERATURE).log_softmax(-1)
    chosen = logp.gather(-1, targets.unsqueeze(-1)).squeeze(-1)[kept.bool()]
    entropy = -(logp.exp() * logp).sum(-1)[kept.bool()]
    weight = torch.linspace(0.5, 1.5, chosen.numel(), dtype=torch.float64)
    (chosen * weight + 0.3 * entropy).sum().backward()
    tensors = {"hidden": states["hidden"][kept.bool()], "logp": chosen, "entropy": entropy}
    return {**tensors, **{f"grad.{n}": p.grad for n, p in made.named_parameters() if p.requires_grad}}


def case(name, made, words, first=None):
    for kind, forward in NORMS.items():
        kind.forward = forward
    directory = HERE / name
    end = made.config.eos_token_id
    made.generation_config.forced_bos_token_id = first
    made.generation_config.forced_eos_token_id = None  # at the length limit; here such a row is cut off
    made.save_pretrained(directory)
    words.save_pretrained(directory)
    prompts = [words(p).input_ids for p in PROMPTS]
    generator = torch.Generator().manual_seed(1)
    answers = [torch.randint(3, 70, (int(n),), generator=generator).tolist() + [end]
               for n in torch.randint(1, 14, (2 * len(prompts),), generator=generator)]
    rows = []
    for text, ids in zip(PROMPTS, prompts):
        row = {"prompt": text, "prompt_ids": ids, "answer_ids": words(text_target=text).input_ids}
        for key, more in [("greedy", {}), ("penalised", {"repetition_penalty": 1.4})]:
            row[key] = made.generate(torch.tensor([ids]), max_new_tokens=24, do_sample=False, num_beams=1,
                                     **more)[0, 1:].tolist()
        rows.append(row)
    (directory / "cases.json").write_text(json.dumps({"rows": rows, "answers": answers}) + "\n")
    tensors = {key: value.detach().contiguous() for key, value in judged(made, prompts, answers).items()}
    save_file(tensors, directory / "case.safetensors")
    for row in rows:
        print(name, row["greedy"], row["penalised"])


def main():
    torch.manual_seed(5)
    gated = {**CONFIG, "feed_forward_proj": "gated-gelu"}
    mt5 = shaken(MT5ForConditionalGeneration(MT5Config(**gated)), 1)
    mt5.lm_head.weight = torch.nn.Parameter(0.4 * torch.randn_like(mt5.shared.weight))  # the published ones have their own
    case("mt5", mt5, tokenizer())
    case("umt5", shaken(UMT5ForConditionalGeneration(UMT5Config(**gated)), 1), tokenizer())
    words = framed()
    sizes = {**SIZES, "vocab_size": 70}
    case("bart", shaken(BartForConditionalGeneration(BartConfig(**sizes)), 0.7), words, first=0)
    case("mbart", shaken(MBartForConditionalGeneration(MBartConfig(**sizes, decoder_start_token_id=2, scale_embedding=True)), 0.3),
         words)
    case("pegasus", shaken(PegasusForConditionalGeneration(PegasusConfig(**sizes, activation_function="relu")), 0.4),
         tokenizer())


if __name__ == "__main__":
    main()

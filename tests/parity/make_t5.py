"""T5's encoder of transformers, a Unigram tokenizer of the `tokenizers` library with SentencePiece's normalisation, and
the pipelines of diffusers that have both -> tests/parity/data/t5/, tests/parity/data/tokenizers/unigram*,
tests/parity/data/pipelines/{flux,sd3_t5}.

    python tests/parity/make_t5.py
"""
import io
import json
import pathlib
import random

import sentencepiece
import torch
from diffusers import (FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel, SD3Transformer2DModel,
                       StableDiffusion3Pipeline)
from safetensors.torch import load_file, save_file
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import (CLIPTextModel, CLIPTextModelWithProjection, PreTrainedTokenizerFast, T5Config,
                          T5EncoderModel)

import make_pipelines as pipelines

DATA = pathlib.Path(__file__).parent / "data"
HERE = DATA / "t5"
WORDS = ("a the small large red fox boat bird sleeping over under house with lighthouse painting of watercolour and "
         "storm sea calm night morning light three two cats dogs running still life fruit table glass").split()
RULES = {"ﬁ": "fi", "①": "1", "…": "...", "Ａ": "A", "ｂ": "b", "\u00a0": " ", "\u3000": " ", "\t": " ",
         "½": "1⁄2", "\u200b": "", "か\u3099": "が", "e\u0301": "é", "n\u0303": "ñ", "A\u030a": "Å", "㌔": "キロ", "™": "TM"}


def sentencepiece_model(directory):
    """Trained on made-up captions, with a table of its own that is small enough to keep."""
    rng = random.Random(0)
    corpus = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 12))) + rng.choice([".", "!", ", 3", "; 12", ""])
              for _ in range(800)]
    table = directory / "rules.tsv"
    table.write_text("".join(f"{' '.join(f'{ord(c):X}' for c in a)}\t{' '.join(f'{ord(c):X}' for c in b)}\n"
                             for a, b in RULES.items()))
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=out, vocab_size=150, model_type="unigram", pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1, normalization_rule_tsv=str(table), hard_vocab_limit=False, minloglevel=2)
    table.unlink()
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    return [(piece.piece, piece.score) for piece in proto.pieces], proto.normalizer_spec.precompiled_charsmap


def t5_tokenizer(pieces, charsmap):
    """As transformers' T5Tokenizer builds it."""
    t = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    t.add_special_tokens(["<pad>", "</s>", "<unk>"])
    return t


def byte_tokenizer(pieces, charsmap):
    """Unknown characters spelled in bytes, only the text's beginning marked, several spaces kept."""
    pieces = pieces + [(f"<0x{b:02X}>", -20.0) for b in range(256)]
    t = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap), normalizers.NFKC()])
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")
    t.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme="first")])
    t.add_special_tokens(["<pad>", "</s>"])
    return t


def more_texts():
    """Texts that the table changes, alone and in graphemes of several characters."""
    rng = random.Random(1)
    keys = list(RULES) + WORDS + ["<pad>", "</s>", " ", "  ", "\u0301", "\u0323", "🏳️‍🌈", "▁", "▁▁x", "क्षि", "ﬁ\u0301", "e\u0301\u0323"]
    return keys + ["".join(rng.choice(keys + [" "] * 12) for _ in range(rng.randint(2, 14))) for _ in range(120)]


def tokenizer_cases(name, tokenizer, texts):
    tokenizer = Tokenizer.from_str(tokenizer.to_str())
    file = json.loads(tokenizer.to_str())
    directory = DATA / "tokenizers"
    (directory / f"{name}.json").write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")) + "\n")
    with open(directory / f"{name}.cases.jsonl", "w") as out:
        for i, text in enumerate(texts):
            ids, plain = tokenizer.encode(text).ids, tokenizer.encode(text, add_special_tokens=False).ids
            row = {"text": i, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
            if plain != ids and i < 40:
                row["plain"] = plain
            if row["decoded"] == text:
                del row["decoded"]
            out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


def shaken(model, amount=0.1):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(amount * torch.randn_like(parameter))
    return model.eval()


def t5(**more):
    return shaken(T5EncoderModel(T5Config(**{**dict(
        vocab_size=150, d_model=12, d_kv=4, d_ff=20, num_layers=2, num_heads=2, relative_attention_num_buckets=8,
        relative_attention_max_distance=20, feed_forward_proj="gated-gelu", dropout_rate=0.0), **more})))


def encoder(name, model, sharded):
    directory = HERE / name
    model.save_pretrained(directory, **({"max_shard_size": "4KB"} if sharded else {}))
    ids = torch.randint(0, 150, (2, 30))
    hidden = model(input_ids=ids).last_hidden_state
    hidden.square().sum().backward()
    grads = {f"grad.{n}": p.grad.contiguous() for n, p in model.named_parameters()
             if n.endswith(("relative_attention_bias.weight", "0.layer.0.SelfAttention.q.weight", "wo.weight",
                            "final_layer_norm.weight", "shared.weight"))}
    save_file({"ids": ids, "hidden": hidden.detach().contiguous(), **grads}, directory / "case.safetensors")
    shapes = {key: list(value.shape) for file in sorted(directory.glob("model*.safetensors"))
              for key, value in load_file(file).items()}
    (directory / "shapes.json").write_text(json.dumps(shapes, indent=0, sort_keys=True) + "\n")


def fast(tokenizer, length):
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
                                   model_max_length=length)


def flux(tokenizer, guided):
    torch.manual_seed(6)
    words = pipelines.tokenizer("first")
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=guided, base_shift=0.5, max_shift=1.15,
                                                  base_image_seq_len=16, max_image_seq_len=64),
        vae=pipelines.vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=shaken(CLIPTextModel(pipelines.text_config(words)), 0.05), tokenizer=words,
        text_encoder_2=t5(), tokenizer_2=fast(tokenizer, 512),
        transformer=shaken(FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=12, pooled_projection_dim=8, guidance_embeds=guided, axes_dims_rope=(2, 2, 4)), 0.05))


def run_flux(name, pipeline, guidance):
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 8)
    packed = pipeline._pack_latents(noise, 2, 4, 8, 8)
    arguments = dict(prompt=pipelines.PROMPTS, num_inference_steps=10, guidance_scale=guidance, height=16, width=16)
    latents = pipeline(latents=packed.clone(), output_type="latent", **arguments).images
    latents = pipeline._unpack_latents(latents, 16, 16, pipeline.vae_scale_factor)
    images = pipeline(latents=packed.clone(), output_type="np", **arguments).images
    pipelines.write(name, pipeline, [{"prompt": p} for p in pipelines.PROMPTS], {"noise": noise}, latents, images)


def sd3(tokenizer):
    torch.manual_seed(7)
    first, second = pipelines.tokenizer("first"), pipelines.tokenizer("second")
    pipeline = StableDiffusion3Pipeline(
        vae=pipelines.vae(shift_factor=0.1),
        text_encoder=shaken(CLIPTextModelWithProjection(pipelines.text_config(first)), 0.05),
        text_encoder_2=shaken(CLIPTextModelWithProjection(pipelines.text_config(second, hidden_act="gelu")), 0.05),
        text_encoder_3=t5(d_model=20), tokenizer=first, tokenizer_2=second, tokenizer_3=fast(tokenizer, 77),
        transformer=shaken(SD3Transformer2DModel(
            sample_size=8, patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2,
            joint_attention_dim=20, caption_projection_dim=16, pooled_projection_dim=12, out_channels=4,
            pos_embed_max_size=8), 0.05),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0))
    rows = [{"prompt": p, "negative_prompt": n} for p, n in zip(pipelines.PROMPTS, pipelines.NEGATIVE)]
    pipelines.run("sd3_t5", pipeline, rows, {}, guidance_scale=4.0)


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    pieces, charsmap = sentencepiece_model(HERE)
    texts = json.loads((DATA / "tokenizers" / "texts.json").read_text()) + more_texts()
    (DATA / "tokenizers" / "unigram_texts.json").write_text(json.dumps(more_texts(), indent=0) + "\n")
    tokenizer = t5_tokenizer(pieces, charsmap)
    tokenizer_cases("unigram", tokenizer, texts)
    tokenizer_cases("unigram_bytes", byte_tokenizer(pieces, charsmap), texts)
    torch.manual_seed(0)
    encoder("gated", t5(), False)
    encoder("relu", t5(feed_forward_proj="relu", num_heads=3), True)
    run_flux("flux", flux(tokenizer, True), 3.5)
    run_flux("flux_schnell", flux(tokenizer, False), 1.0)
    sd3(tokenizer)


if __name__ == "__main__":
    main()

"""Writes tests/parity/data/clip_tokenizer/: a small CLIP tokenizer in the layouts that image models have, and what
transformers makes of some texts.

    python tests/parity/make_clip_tokenizer.py tests/parity/data/clip_tokenizer
    python tests/parity/make_clip_tokenizer.py OUT --texts 4000    # more texts, to check by hand

first/ has vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json as Stable Diffusion's `tokenizer`;
second/ pads with "!", as SDXL's `tokenizer_2`, has no model_max_length but an added_tokens.json; listed/ has its tokens
in `added_tokens_decoder`; fast/ is what transformers saves of the first. cases.jsonl has {"text", NAME: {"ids",
"decoded", "plain": decoded without special tokens}}, a NAME only where it differs from the first; names.json has each
directory's ids and model_max_length (-1: none).
"""
import argparse
import json
import pathlib
import random

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from make_tokenizers import BASE, hard_texts

PROMPTS = [
    "A photograph of an astronaut riding a horse on the moon, 4k, highly detailed, trending on artstation",
    "a cat's portrait in the style of van gogh; oil on canvas (1889), masterpiece!!!",
    "the blue sky and the green field, it's what they've seen, we're sure he'd said \"hello\" & 'goodbye'",
    "((masterpiece:1.3)), best quality, 8K, RAW photo, f/1.8, 35mm, <lora:film_grain:0.6> --ar 16:9 #art @home $5.00",
    "<|startoftext|> a red apple <|endoftext|> b<|ENDOFTEXT|>c <|StartOfText|>d!<|endoftext|>>! <|endoftext|",
    "ÉTÉ à la plage; STRASSE Straße İstanbul ΑΣΟΣ Ǆ ﬁne ½ cup",
]


def trained():
    """vocab.json's and merges.txt's content: bytes, bytes at word ends, merges, the two special tokens."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(vocab_size=760, end_of_word_suffix="</w>", show_progress=False)
    tokenizer.train_from_iterator(PROMPTS * 3 + BASE, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    letters = ["!"] + [c for c in letters if c != "!"]  # CLIP's token 0, which SDXL's second tokenizer pads with
    tokens = letters + [c + "</w>" for c in letters]
    merges = [tuple(merge) for merge in model["merges"]]
    tokens += list(dict.fromkeys("".join(merge) for merge in merges))
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: i for i, token in enumerate(tokens)}, merges


def flagged(content, **more):
    return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False} | more


def write_directory(directory, vocab, merges, pad, config, tokens_map=True):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))
    (directory / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    tokens = {"bos_token": flagged("<|startoftext|>"), "eos_token": flagged("<|endoftext|>"), "pad_token": pad,
              "unk_token": flagged("<|endoftext|>")}
    if tokens_map:
        (directory / "special_tokens_map.json").write_text(json.dumps(tokens, indent=2) + "\n")


def layouts(directory):
    vocab, merges = trained()
    plain = {"tokenizer_class": "CLIPTokenizer", "do_lower_case": True, "errors": "replace", "add_prefix_space": False}
    write_directory(directory / "first", vocab, merges, "<|endoftext|>", plain | {
        "bos_token": {"__type": "AddedToken"} | flagged("<|startoftext|>"), "pad_token": "<|endoftext|>",
        "eos_token": {"__type": "AddedToken"} | flagged("<|endoftext|>"), "model_max_length": 77})
    write_directory(directory / "second", vocab, merges, "!", plain | {"model_max_length": int(1e30), "pad_token": "!"})
    (directory / "second" / "added_tokens.json").write_text(json.dumps({"<cat-toy>": len(vocab)}) + "\n")
    listed = {str(vocab["!"]): flagged("!", special=True, normalized=False),
              str(vocab["<|startoftext|>"]): flagged("<|startoftext|>", special=True),
              str(vocab["<|endoftext|>"]): flagged("<|endoftext|>", special=True),
              str(len(vocab)): flagged("<cat-toy>", special=False, single_word=True)}
    write_directory(directory / "listed", vocab, merges, "!", plain | {
        "added_tokens_decoder": listed, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "pad_token": "!",
        "unk_token": "<|endoftext|>", "model_max_length": 64, "clean_up_tokenization_spaces": True}, tokens_map=False)
    CLIPTokenizer.from_pretrained(directory / "first").save_pretrained(directory / "fast")
    file = directory / "fast" / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()), ensure_ascii=False, separators=(",", ":")) + "\n")


def texts(count):
    """All of PROMPTS and BASE, then hard texts and random joins of their parts, up to `count`."""
    out = PROMPTS + BASE + ["a <cat-toy> b", "A<cat-toy>b <CAT-TOY> <cat-toy>!", "", " ", "!", "!!! a!b!"]
    rng = random.Random(7)
    hard = hard_texts()
    parts = " ".join(PROMPTS + BASE).split(" ")
    odd = ["", " ", "  ", "\n", "\t", "\u00a0", "\u3000", "\u200b", "\u001f", ", ", "!", "...", "'s", "'VE ", "42", "🙂", "</w>", "e\u0301"]
    mixed = ["".join(rng.choice(parts) + rng.choice(odd) for _ in range(rng.randint(1, 14))) for _ in range(max(count, 40))]
    short = [t for t in hard if len(t) < 120]
    room = count - len(out)
    return out + (hard + mixed if room > 400 else rng.sample(short, room // 2) + mixed)[:room]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--texts", type=int, default=110)
    options = parser.parse_args()
    layouts(options.directory)
    names, rows = {}, [{"text": text} for text in texts(options.texts)]
    for name in ("first", "second", "listed", "fast"):
        tokenizer = CLIPTokenizer.from_pretrained(options.directory / name)
        limit = tokenizer.model_max_length
        names[name] = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id,
                       "size": len(tokenizer), "max_length": limit if limit < 1e20 else -1}
        for row in rows:
            ids = tokenizer(row["text"]).input_ids
            case = {"ids": ids, "decoded": tokenizer.decode(ids), "plain": tokenizer.decode(ids, skip_special_tokens=True)}
            if case != row.get("first"):
                row[name] = case
    (options.directory / "cases.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows))
    (options.directory / "names.json").write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Writes tests/parity/data/tokenizers/: small tokenizers of the known families and what `tokenizers` makes of hard texts.

    python tests/parity/make_tokenizers.py tests/parity/data/tokenizers [NAME...]

NAME.json is a tokenizer.json; NAME.cases.jsonl has {"text": index into texts.json, "ids": [...], "plain": ids without
special tokens (of the first texts, where they differ), "decoded": where it is not the text}. categories.json holds, for
each pattern, how many code points it matches and a checksum of them.
"""
import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
BASE = [
    "The quick brown fox jumps over the lazy dog. It's what they'd've said: we'll see, I'm sure you're right!",
    "def f(x):\n    return x ** 2  # comment\n\n\nfor i in range(10):\n\tprint(f(i))\r\n",
    "Größe, naïve café, Ærøskøbing, İstanbul ıı ǅ ﬁ ﬀ Ⅷ ½ x² H₂O",
    "日本語のテキストと漢字、ひらがな。中文字符，测试一下。한국어 텍스트입니다",
    "مرحبا بالعالم שלום עולם नमस्ते दुनिया สวัสดีชาวโลก Привет, мир Γειά σου Κόσμε",
    "👨‍👩‍👧‍👦 👍🏽 🇩🇪🇯🇵 ❤️ 😀😃🎉 ☃ ∑∫√ → ⇒ € £ ¥ © ™",
    "1234567890 3.14159 1,000,000 2024-01-31 0x1F ١٢٣ १२३ ²³ Ⅻ",
]


def hard_texts():
    t = list(BASE) + ["", " ", "  ", "\n", "\r\n", "\t", "a", " a", "a ", "  a  b   c    ", "\n\n\n  \n x", " \r\n \n\r\t\t z"]
    t += [" " * n + "x" for n in (1, 2, 3, 7, 64)] + ["x" + " " * n for n in (1, 5, 33)] + ["\n" * 20, "\t" * 9 + "y"]
    t += ["'s 'S 'T 'RE 'Ve 'LL 'd ''s it'S ITs' don'T 'ſ 'ſt \u2019s", "HELLO'S WORLD'LL", "'K K 'm\u212a"]
    t += ["a\u00a0b\u1680c\u2003d\u2028e\u2029f\u202fg\u205fh\u3000i\u0085j\u180ek\u200bl\u200cm\u200dn\ufeffo\u2060p"]
    t += ["\u0000\u0001\u0007\u001b[0m\u007f\u0080\u009f\u00ad", "\ufffd\ufffe\uffff\U0001ffff\U0010ffff\ue000"]
    t += ["e\u0301 é a\u0323\u0307 a\u0307\u0323 \u0301x \u1100\u1161\u11a8 각 \u212b \u2126 \ufb01 q\u0345\u0301", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞"]
    t += ["\u07fd\u0301 a\u0334\u07fd\u0301 \u1e08fx \U00011938 \U00011935\U00011930 \U0001e030 \U00010781 \ua7f2"]
    new15 = [0x0CF3, 0x0ECE, 0x10EFD, 0x11240, 0x11F02, 0x11F50, 0x1B132, 0x1D2C0, 0x1DF25, 0x1E030, 0x1E4D0, 0x1E4F0, 0x1FA75, 0x1FACE, 0x31350, 0x2EBF0, 0x2FFC, 0x31EF]
    new16 = [0x0897, 0x1B4E, 0x1C89, 0x1C8A, 0xA7CB, 0xA7DC, 0x105C0, 0x10D40, 0x10D50, 0x10D70, 0x10EC2, 0x11380, 0x113D4, 0x11BC0, 0x11BF0, 0x13460, 0x16100, 0x16D40, 0x16D70, 0x1CC00, 0x1CCF0, 0x1E5D0, 0x1E5F1, 0x1F8B2, 0x1FA89, 0x1FAE9, 0x1171E]
    for c in new15 + new16 + [0x11DE0, 0x16FF4, 0x16EA0, 0x0378, 0xFFFE]:
        t += [f"a{chr(c)}b {chr(c)}{chr(c)} 1{chr(c)}2 !{chr(c)}? \n{chr(c)}", f"{chr(c)}'s {chr(c)}  {chr(c)}"]
    for a, b in [(0x20, 0x7F), (0xA0, 0x180), (0x2B0, 0x300), (0x300, 0x370), (0x660, 0x6A0), (0x900, 0x980), (0x1E00, 0x1E40), (0x2000, 0x2070), (0x2070, 0x20D0), (0x2150, 0x2190), (0x3000, 0x3040), (0x3130, 0x3190), (0xFB00, 0xFB50), (0xFE20, 0xFE70), (0xFF00, 0xFFF0), (0x1D400, 0x1D420), (0x1F1E6, 0x1F200), (0x1F3FB, 0x1F410)]:
        run = "".join(map(chr, range(a, b)))
        t += [run, "".join(c + "1" for c in run), "".join(c.upper() + c.lower() + "\n" for c in run)]
    t += ["<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n", "a<|im_end|>b", "<|im_end|><|im_end|> x", "<|im_end", "a  <strip>  b\n<strip>\t", "word ping pingpong ping! _ping ping\u0301 \u200dping pingé 1ping (ping)", "ÉCOLE école E\u0301COLE e\u0301cole", "<longer><longer token> <long", "<strip><strip>  <strip>", "TOOL tool Tool<tool>"]
    t += ["ab" * 200, "a" * 300, "9" * 50, "漢" * 100, "🙂" * 60, "x\u0301" * 50, "the " * 80, "aaab" * 40 + " " + "abaab" * 40]
    words = " ".join(BASE).split(" ")
    state = 12345
    for _ in range(60):
        out = []
        for _ in range(12):
            state = (state * 1103515245 + 12345) % 2**31
            out.append(words[state // 65536 % len(words)])
            out.append(["", " ", "  ", "\n", " \n", "\t", "...", "'s", "42", "\u00a0"][state // 7 % 10])
        t.append("".join(out))
    return t


def learned(tokenizer, size, special, alphabet=True):
    initial = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=initial, show_progress=False)
    tokenizer.train_from_iterator(BASE * 2, trainer)
    return tokenizer


ADDED = [AddedToken("<strip>", lstrip=True, rstrip=True, normalized=False), AddedToken("ping", single_word=True, normalized=False),
         AddedToken("<longer>", normalized=False), AddedToken("<longer token>", normalized=False), AddedToken("École", normalized=True),
         AddedToken("the", normalized=False)]


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return learned(t, 600, ["<|endoftext|>"])


def prefixed():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
    learned(t, 400, ["<s>", "</s>", "<pad>"])
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0))
    t.add_tokens(ADDED)
    return t


def qwen2():
    t = Tokenizer(models.BPE())
    t.normalizer, t.pre_tokenizer = normalizers.NFC(), split_then_bytes(QWEN2)
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    learned(t, 500, [])
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens(ADDED)
    return t


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer, t.decoder = split_then_bytes(LLAMA3), decoders.ByteLevel()
    learned(t, 500, [])
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|im_end|>"])
    bos = t.token_to_id("<|begin_of_text|>")
    template = processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", bos)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    return t


def o200k():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer, t.decoder = split_then_bytes(O200K), decoders.ByteLevel()
    learned(t, 400, ["<|im_start|>", "<|im_end|>"])
    return t


def falcon():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    t.decoder = decoders.ByteLevel()
    return learned(t, 400, [">>TITLE<<"])


def mixed():
    """Every behaviour of Split, and the rarer normalisers."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([
        normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\d+x"), "#"), normalizers.Replace("...", "…"),
        normalizers.Strip(), normalizers.Prepend("^")])
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split("-", "merged_with_previous"), pre_tokenizers.Split(Regex(r"[aeiou]"), "merged_with_next"),
        pre_tokenizers.Split(Regex(r"\w"), "contiguous"), pre_tokenizers.Split(Regex(r"\p{Han}+\b"), "isolated"),
        pre_tokenizers.Split(Regex(r"[^\S\n]"), "removed"), pre_tokenizers.Split(Regex(r"\D+"), "isolated", invert=True),
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.Sequence([decoders.ByteLevel()])
    learned(t, 400, ["<s>"])
    t.add_tokens(ADDED)
    return t


def words():
    """No bytes: unknown characters, whitespace and punctuation."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, end_of_word_suffix="</w>"))
    t.normalizer = normalizers.NFD()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False)
    t.train_from_iterator(BASE[:3], trainer)
    return t


def llama2():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=special, show_progress=False)
    t.train_from_iterator([w for line in BASE[:3] for w in line.replace(" ", " ▁").split(" ")], trainer)
    t = Tokenizer.from_str(json.dumps(without_byte_specials(json.loads(t.to_str()))))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return t


def bert():
    return word_piece(lowercase=True)


def bert_cased():
    return word_piece(lowercase=False)


def word_piece(lowercase):
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    t.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    t.pre_tokenizer, t.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=lowercase)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(BASE, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special, show_progress=False))
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def without_byte_specials(file):
    file["added_tokens"] = file["added_tokens"][:3]
    return file


PATTERNS = ([rf"\p{{{c}}}" for c in "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cn Co L M N P S Z C".split()]
            + [r"\s", r"\S", r"\w", r"\W", r"\d", r"\D", r"[^\S\r\n]", r"\P{L}", r"\p{^N}", r"[\P{L}]", r"\p{Han}",
               r"[^\s\p{L}\p{N}]", r"\u0041", r"[\x{100}-\u01ff]", r".", r"(?i:s)", r"(?i)[k\u00e5]"])


def categories():
    codes = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    text = "".join(map(chr, codes))
    out = {}
    for pattern in PATTERNS:
        found = [ord(c) for piece, _ in pre_tokenizers.Split(Regex(pattern), "removed", invert=True).pre_tokenize_str(text) for c in piece]
        checksum = 0
        for c in found:
            checksum = (checksum * 1000003 + c) % 2**61
        out[pattern] = [len(found), checksum]
    return out


def main(directory):
    directory.mkdir(parents=True, exist_ok=True)
    texts = hard_texts()
    for make in (gpt2, prefixed, qwen2, llama3, o200k, falcon, mixed, words, llama2, bert, bert_cased):
        if sys.argv[2:] and make.__name__ not in sys.argv[2:]:
            continue
        tokenizer = make()
        tokenizer = Tokenizer.from_str(tokenizer.to_str())
        file = json.loads(tokenizer.to_str())
        (directory / f"{make.__name__}.json").write_text(json.dumps(file, ensure_ascii=False, separators=(",", ":")) + "\n")
        with open(directory / f"{make.__name__}.cases.jsonl", "w") as out:
            for i, text in enumerate(texts):
                ids, plain = tokenizer.encode(text).ids, tokenizer.encode(text, add_special_tokens=False).ids
                row = {"text": i, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False)}
                if plain != ids and i < 40:
                    row["plain"] = plain
                if row["decoded"] == text:
                    del row["decoded"]
                out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    (directory / "texts.json").write_text(json.dumps(texts, indent=0) + "\n")
    (directory / "categories.json").write_text(json.dumps(categories(), indent=0) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))

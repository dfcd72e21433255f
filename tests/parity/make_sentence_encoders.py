#!/usr/bin/env python3
"""Tiny BERT, RoBERTa and DistilBERT directories, with what transformers and sentence-transformers compute from them.

    HF_HUB_OFFLINE=1 python tests/parity/make_sentence_encoders.py tests/parity/data/tokenizers \\
        tests/parity/data/sentence_encoders

The first directory holds make_tokenizers.py's tokenizers. Each NAME has expected.json: "texts", and "logits" [N, labels],
"hidden" [N, D] (the last layer's state of the first token) or "embeddings" [N, D].
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers as t
from sentence_transformers import SentenceTransformer, models

TEXTS = ["The quick brown fox jumps over the lazy dog.", "naïve café", "a", "",
         "def f(x):\n    return x ** 2", "日本語 and English, mixed: 3.14159!", "the " * 40]  # fmt: skip


def tokenizer(source, name, directory):
    shutil.copy(source / f"{name}.json", directory / "tokenizer.json")
    bert = dict(tokenizer_class="PreTrainedTokenizerFast", unk_token="[UNK]", sep_token="[SEP]", pad_token="[PAD]",
                cls_token="[CLS]", mask_token="[MASK]")  # fmt: skip
    roberta = dict(tokenizer_class="PreTrainedTokenizerFast", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    (directory / "tokenizer_config.json").write_text(json.dumps(bert if name == "bert" else roberta) + "\n")


def randomize(model):
    with torch.no_grad():
        for value in model.parameters():
            value += (0.3 if value.dim() == 1 else 0.1) * torch.randn(value.shape)


def encoded(directory):
    fast = t.PreTrainedTokenizerFast.from_pretrained(directory)
    return fast(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)


@torch.no_grad()
def checkpoint(source, root, name, tokens, config, kind):
    directory = root / name
    shutil.rmtree(directory, ignore_errors=True)
    torch.manual_seed(len(name))
    model = kind.from_config(config).eval()
    randomize(model)
    model.save_pretrained(directory)
    tokenizer(source, tokens, directory)
    out = model(**encoded(directory))
    key, value = ("logits", out.logits) if hasattr(out, "logits") else ("hidden", out.last_hidden_state[:, 0])
    (directory / "expected.json").write_text(json.dumps({"texts": TEXTS, key: value.tolist()}) + "\n")
    print(name, value.flatten()[:3].tolist())


def sentences(source, root, name, pooling, normalize):
    directory, bare = root / name, root / "bert_model"
    shutil.rmtree(directory, ignore_errors=True)
    transformer = models.Transformer(str(bare), max_seq_length=24)
    parts = [transformer, models.Pooling(16, pooling_mode=pooling)] + ([models.Normalize()] if normalize else [])
    model = SentenceTransformer(modules=parts)
    model.save(str(directory), create_model_card=False)
    value = model.encode(TEXTS)
    (directory / "expected.json").write_text(json.dumps({"texts": TEXTS, "embeddings": value.tolist()}) + "\n")
    print(name, value.flatten()[:3].tolist(), sorted(p.name for p in directory.iterdir()))


def main(source, root):
    root.mkdir(parents=True, exist_ok=True)
    small = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
                 max_position_embeddings=64)  # fmt: skip
    labels = dict(num_labels=3, id2label={0: "bad", 1: "so-so", 2: "good"}, label2id={"bad": 0, "so-so": 1, "good": 2})
    classifier = t.AutoModelForSequenceClassification
    checkpoint(source, root, "bert_model", "bert", t.BertConfig(vocab_size=400, **small), t.AutoModel)
    checkpoint(source, root, "bert", "bert", t.BertConfig(vocab_size=400, **small, **labels), classifier)
    checkpoint(source, root, "roberta", "prefixed",
               t.RobertaConfig(vocab_size=420, type_vocab_size=1, pad_token_id=2, num_labels=1,
                               **{**small, "max_position_embeddings": 130}), classifier)
    checkpoint(source, root, "distilbert", "bert",
               t.DistilBertConfig(vocab_size=400, dim=16, n_layers=2, n_heads=2, hidden_dim=24, max_position_embeddings=64,
                                  **labels), classifier)  # fmt: skip
    sentences(source, root, "sentence_mean", "mean", True)
    sentences(source, root, "sentence_cls", "cls", False)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))

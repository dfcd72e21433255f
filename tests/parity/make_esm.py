"""ESM of transformers, as masked language model and as classifier: directories, tokens, outputs and gradients ->
tests/parity/data/esm/{masked_lm,classifier}/.

    python tests/parity/make_esm.py
"""
import pathlib

import torch
from safetensors.torch import save_file
from transformers import EsmConfig, EsmForMaskedLM, EsmForSequenceClassification

HERE = pathlib.Path(__file__).parent / "data" / "esm"
VOCABULARY = ["<pad>", "A", "C", "G", "T", "<mask>"]


def shaken(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


def main():
    torch.manual_seed(0)
    config = dict(vocab_size=6, pad_token_id=0, mask_token_id=5, hidden_size=16, num_hidden_layers=2,
                  num_attention_heads=2, intermediate_size=24, max_position_embeddings=16, layer_norm_eps=1e-5,
                  position_embedding_type="rotary", token_dropout=False, hidden_dropout_prob=0.0,
                  attention_probs_dropout_prob=0.0)
    ids = torch.randint(1, 6, (3, 9))
    soft = torch.rand(3, 9, 6).softmax(2).requires_grad_()
    for name, make, extra in (("masked_lm", EsmForMaskedLM, {"emb_layer_norm_before": True}),
                              ("classifier", EsmForSequenceClassification, {"num_labels": 3})):
        model = shaken(make(EsmConfig(**config, **extra)))
        model.save_pretrained(HERE / name)
        (HERE / name / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
        logits = model(input_ids=ids).logits
        # Of distributions over tokens the embedding is the mean one.
        soft.grad = None
        embeddings = model.esm.embeddings
        mixture = soft @ embeddings.word_embeddings.weight
        if embeddings.layer_norm is not None:  # which transformers leaves out where it is given embeddings
            mixture = embeddings.layer_norm(mixture)
        mixed = model(inputs_embeds=mixture).logits
        mixed.log_softmax(-1)[..., 1].sum().backward()
        save_file({"ids": ids, "logits": logits.detach(), "soft": soft.detach(), "mixed": mixed.detach(),
                   "grad.soft": soft.grad.contiguous(),
                   "grad.embedding": model.esm.embeddings.word_embeddings.weight.grad.contiguous()},
                  HERE / name / "case.safetensors")


if __name__ == "__main__":
    main()

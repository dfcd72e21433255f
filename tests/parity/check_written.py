"""Loads model and adapter directories that rft wrote in transformers and peft, and compares log-probabilities.

    HF_HUB_OFFLINE=1 python tests/parity/check_written.py DIR...

Needs torch, transformers and peft. Each DIR is a model directory (config.json) or an adapter directory
(adapter_config.json, whose base_model_name_or_path names the model; the adapters in frozen-0, frozen-1, ... are active
beside it), with rft's own figures in logp.json:
{"rows": [[id, ...], ...], "logp": [[log-probability of each of the row's tokens but the first], ...]}; of an
encoder-decoder model rows are {"prompt": [id, ...], "answer": [id, ...]} and every token of the answer counts.
Exits 1 where a figure is off by more than 2e-4, or where loading misses, adds or reshapes a weight.
"""

import json
import pathlib
import sys
import warnings

import peft
import torch
import transformers

TOLERANCE = 2e-4


def load_model(directory):
    config = transformers.AutoConfig.from_pretrained(directory)
    kind = transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model, report = kind.from_pretrained(directory, output_loading_info=True)
    problems = {kind: found for kind, found in report.items() if found}
    assert not problems, f"{directory}: {problems}"
    return model


def load(directory):
    if not (directory / "adapter_config.json").exists():
        return load_model(directory)
    base = json.loads((directory / "adapter_config.json").read_text())["base_model_name_or_path"]
    model = peft.PeftModel.from_pretrained(load_model(base), directory)
    frozen = sorted(directory.glob("frozen-*"))
    for other in frozen:
        model.load_adapter(other, other.name)
    if frozen:
        model.base_model.set_adapter(["default", *(other.name for other in frozen)])
    return model


def logits_of(model, row):
    """What predicts each of the row's tokens that count, and these tokens."""
    if not isinstance(row, dict):
        ids = torch.tensor([row])
        return model(input_ids=ids).logits[0, :-1], ids[0, 1:]
    answer = torch.tensor([row["answer"]])
    start = torch.tensor([[model.config.decoder_start_token_id]])
    read = model(input_ids=torch.tensor([row["prompt"]]), decoder_input_ids=torch.cat([start, answer[:, :-1]], 1))
    return read.logits[0], answer[0]


def largest_difference(model, rows, ours):
    largest = 0.0
    for row, logp in zip(rows, ours, strict=True):
        logits, ids = logits_of(model, row)
        theirs = logits.float().log_softmax(-1).gather(1, ids[:, None])[:, 0]
        largest = max(largest, (theirs - torch.tensor(logp)).abs().max().item())
    return largest


def main(directories):
    failed = False
    for directory in map(pathlib.Path, directories):
        expected = json.loads((directory / "logp.json").read_text())
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # peft warns of missing adapter weights
            difference = largest_difference(load(directory).eval(), expected["rows"], expected["logp"])
        failed |= not difference <= TOLERANCE
        print(f"{directory.name}: largest difference {difference:.1e}")
    sys.exit(failed)


if __name__ == "__main__":
    main(sys.argv[1:])

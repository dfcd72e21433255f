"""`rft tokenize --chat` against tokenizer.apply_chat_template, with the tokenizers of tests/parity/data/tokenizers.

usage: python tests/parity/check_chat_ids.py build/release/rft            (needs transformers 5)

Three templates of real models on every tokenizer, with their control tokens added as special ones; ids must be identical.
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

from transformers import PreTrainedTokenizerFast

here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")
golden = json.load(open(os.path.join(here, "chat", "templates.json"), encoding="utf-8"))
CONTROL = ["<|im_start|>", "<start_of_turn>", "<end_of_turn>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>"]
total = different = 0
for file in sorted(glob.glob(os.path.join(here, "tokenizers", "*.json"))):
    if "added_tokens" not in json.load(open(file, encoding="utf-8")):
        continue
    for name in ("qwen3", "llama3", "gemma"):
        with tempfile.TemporaryDirectory() as directory:
            tokenizer = PreTrainedTokenizerFast(tokenizer_file=file, bos_token="<s>", eos_token="<|im_end|>",
                                                additional_special_tokens=CONTROL)
            tokenizer.chat_template = golden["templates"][name]["source"]
            tokenizer.save_pretrained(directory)
            rows, wanted = [], []
            for line in golden["chats"]:
                chat = json.loads(line)
                more = {k: v for k, v in chat.items() if k != "messages"}
                try:
                    wanted.append(tokenizer.apply_chat_template(chat["messages"], return_dict=False, **more))
                except Exception:  # the template refuses it
                    continue
                rows.append(line)
            given, out = os.path.join(directory, "in.jsonl"), os.path.join(directory, "out.jsonl")
            open(given, "w", encoding="utf-8").write("\n".join(rows) + "\n")
            subprocess.run([sys.argv[1], "tokenize", directory, "--chat", "--in", given, "--out", out], check=True)
            got = [json.loads(line)["ids"] for line in open(out, encoding="utf-8")]
            total += len(got)
            different += sum(a != b for a, b in zip(got, wanted))
print(total, "conversations,", different, "differ")
sys.exit(different > 0)

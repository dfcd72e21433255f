#!/usr/bin/env python3
"""Decoding speed: rft beside transformers, on random checkpoints, in one run.

    python benchmarks/generate.py build/release/rft [--shapes gpt2-124m,qwen2-494m] [--batches 1,8] [--threads 2]

Both sides load the same checkpoint (float32), and their runs alternate. Prints medians, their ratio, and the rate at
which rft reads the weights beside the read bandwidth measured in the same run. Needs torch and transformers.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers", "generate_transformers.py")


def make_checkpoint(shape, directory):
    """Saves random weights; returns the bytes that one decoding step reads."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, Qwen2Config
    torch.manual_seed(0)
    if shape == "gpt2-124m":
        config = GPT2Config(vocab_size=50304)
    elif shape == "qwen2-494m":
        config = Qwen2Config(vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24,
                             num_attention_heads=14, num_key_value_heads=2, tie_word_embeddings=True,
                             rope_parameters={"rope_theta": 1e6, "rope_type": "default"}, max_position_embeddings=32768)
    else:
        config = Qwen2Config(vocab_size=512, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
                             num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                             max_position_embeddings=256)
    config.eos_token_id = None
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(directory)
    positions = config.n_positions * config.n_embd if shape.startswith("gpt2") else 0
    return 4 * (sum(p.numel() for p in model.parameters()) - positions)


class Side:
    """A process that runs once for every line it is given."""

    def __init__(self, command, environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment)
        if self.process.stdout.readline().strip() != "ready":
            sys.exit(f"{command[0]} did not start")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def compare(rft, model, weight_bytes, shape, batch, quantize, a):
    environment = dict(os.environ, OMP_NUM_THREADS=str(a.threads), MKL_NUM_THREADS=str(a.threads), HF_HUB_OFFLINE="1")
    sizes = [str(batch), str(a.prompt_tokens), str(a.new_tokens)]
    ours = Side([rft, "bench", "generate", "--model", model, "--batch", sizes[0], "--prompt-tokens", sizes[1],
                 "--new-tokens", sizes[2]] + (["--quantize", quantize] if quantize else []), environment)
    theirs = Side([sys.executable, PEER, model, *sizes, str(a.threads)], environment)
    ours.ask("run"), theirs.ask("run")
    rounds = [(ours.ask("run"), theirs.ask("run"), ours.ask("read")) for _ in range(a.repeats)]
    ours.close(), theirs.close()
    mine, peer = (statistics.median(column) for column in list(zip(*rounds))[:2])
    bandwidth = max(r[2] for r in rounds)
    rate = weight_bytes * a.new_tokens / mine / 1e9
    read = "" if quantize else f"{rate:8.1f} {bandwidth:8.1f} {rate / bandwidth:6.0%}"
    print(f"{shape:11} {quantize or 'float32':8} {batch:5} {mine * 1e3:9.1f} {peer * 1e3:9.1f} {peer / mine:7.2f} "
          f"{batch * a.new_tokens / mine:9.0f} {read}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rft")
    parser.add_argument("--shapes", default="tiny-1m,gpt2-124m,qwen2-494m")
    parser.add_argument("--batches", default="1,8")
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--quantize", default="", help="such as ',int8,nf4': rft's linear layers, the peer's are float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    a = parser.parse_args()
    print("shape       numbers  batch    rft ms   peer ms   ratio  tokens/s  GB/s rft  GB/s max  share")
    for shape in a.shapes.split(","):
        with tempfile.TemporaryDirectory() as directory:
            weight_bytes = make_checkpoint(shape, directory)
            for batch in ([64] if shape.startswith("tiny") else map(int, a.batches.split(","))):
                for quantize in a.quantize.split(","):
                    compare(a.rft, directory, weight_bytes, shape, batch, quantize, a)


main()

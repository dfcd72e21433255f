"""Decoding: rft's time a step beside the memory-bandwidth bound and transformers' generate (bf16, sdpa, greedy)."""
import statistics

from checkpoints import ensure
from harness import Side, peer
from shapes import shape, step_bytes

PROMPT = 128


def seconds_of(side, line, repeats):
    side.ask(line)
    return statistics.median(float(side.ask(line)) for _ in range(repeats))


def ours(job, folder, config, batch, lengths):
    """The difference of two lengths is time without the prompt; the steps between them see the mean context."""
    seconds, command = [], [job.binary("rft"), "bench", "generate", "--model", folder, "--batch", batch]
    if job.settings.device != "cpu":
        command += ["--device", job.settings.device, "--dtype", "bfloat16"]
    for new in lengths:
        with Side(job, command + ["--prompt-tokens", PROMPT, "--new-tokens", new], job.environment()) as side:
            seconds.append(seconds_of(side, "run", 3))
    short, long = lengths
    step, context = (seconds[1] - seconds[0]) / (long - short), PROMPT + (short + long) / 2
    found = {"ms_per_step": step * 1e3, "mean_context": context, "tokens_per_s": batch / step}
    found.update({f"seconds_{new}": value for new, value in zip(lengths, seconds)})
    read = job.limit("read_gb_s")
    if read:
        bound = step_bytes(config, batch, context, 2 if job.settings.device != "cpu" else 4) / read / 1e9
        found.update(bound_ms=bound * 1e3, share_of_bandwidth=bound / step)
    return found


def theirs(side, batch, new):
    seconds = [seconds_of(side, f"{batch} {PROMPT} {count}", 2 if count == 1 else 1) for count in (1, new)]
    step = (seconds[1] - seconds[0]) / (new - 1)
    return {"ms_per_step": step * 1e3, "tokens_per_s": batch / step, f"seconds_{new}": seconds[1], "seconds_1": seconds[0]}


def run(job, name):
    smoke, config = job.settings.smoke, shape(name, job.settings.smoke)
    folder = ensure(job, name)
    with peer(job, "generate_transformers_gpu.py", folder, job.settings.device) as transformers:
        transformers.greet()  # nothing else runs while rft is timed
        for batch in (1, 4) if smoke else (1, 64):
            mine = job.attempt(f"rft_batch_{batch}", ours, job, folder, config, batch, (8, 16) if smoke else (256, 512))
            peers = job.attempt(f"transformers_batch_{batch}", theirs, transformers, batch, 8 if smoke else 64)
            if mine and peers:
                job.record(f"ratio_batch_{batch}", peers["ms_per_step"] / mine["ms_per_step"])

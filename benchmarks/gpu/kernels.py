"""rft's kernels (the binary gpu_bench prints a JSON line each) and GRPO's loss at V = 151,936 by ATen, TRL and Liger."""
import json

from harness import peer


def own(job):
    lines = job.run([job.binary("gpu_bench")], 100).splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    for row in rows:
        job.record("rft " + row.pop("name"), row)
    return {"count": len(rows)}


def run(job):
    smoke = job.settings.smoke
    # 8 rows of 2,048 tokens; the head of the 1.5B model.
    sizes = (2, 16, 64, 512) if smoke else (8, 2048, 1536, 151936)
    with peer(job, "grpo_loss_gpu.py", job.settings.device, *sizes) as peers:
        job.attempt("gpu_bench", own, job)
        for name in ("aten_head", "trl_head", "liger_head", "aten_logits", "liger_logits", "liger_head_compiled"):
            job.attempt(name, lambda: json.loads(peers.ask(name)))

"""What the card can do: copy and read bandwidth, bf16 matrix products."""
import statistics
import time


def median_seconds(call, device, repeats=7):
    """Median time of a call, by device events on CUDA; two warm-up calls."""
    import torch
    times = []
    for i in range(repeats + 2):
        if device == "cpu":
            begin = time.perf_counter()
            call()
            elapsed = time.perf_counter() - begin
        else:
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            elapsed = begin.elapsed_time(end) / 1e3
        if i >= 2:
            times.append(elapsed)
    return statistics.median(times)


def run(job):
    import torch
    device, smoke = job.settings.device, job.settings.smoke
    if device != "cpu":
        free, total = torch.cuda.mem_get_info()
        job.record("device", {"name": torch.cuda.get_device_name(), "memory_gib": total / 2**30, "torch": torch.__version__,
                              "multiprocessors": torch.cuda.get_device_properties(0).multi_processor_count})
    size = 2**22 if smoke else 2**31  # elements of 2 bytes: 4 GiB
    source = torch.empty(size, dtype=torch.bfloat16, device=device).normal_()
    target = torch.empty_like(source)
    job.record("copy_gb_s", 2 * 2 * size / median_seconds(lambda: target.copy_(source), device) / 1e9)
    del target
    words, matrix = source.view(torch.float32), source.view(-1, 2**14 if not smoke else 2**8)
    vector = torch.ones(matrix.shape[1], dtype=torch.bfloat16, device=device)
    reads = {"sum": 2 * size / median_seconds(lambda: words.sum(), device) / 1e9,
             "max": 2 * size / median_seconds(lambda: source.amax(), device) / 1e9,
             "matrix_vector": 2 * size / median_seconds(lambda: matrix @ vector, device) / 1e9}
    job.record("reads_gb_s", reads)
    job.record("read_gb_s", max(reads.values()))
    del source, words, matrix
    n = 256 if smoke else 8192
    a, b = (torch.randn(n, n, dtype=torch.bfloat16, device=device) for _ in range(2))
    job.record("matmul_tflop_s", 2 * n**3 / median_seconds(lambda: a @ b, device, 11) / 1e12)

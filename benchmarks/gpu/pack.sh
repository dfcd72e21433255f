#!/usr/bin/env bash
# Gathers what a GPU machine without these packages needs to run rft: the programs, our libraries, and the small shared
# libraries they are linked to, all without debug information. LibTorch and CUDA stay out: the machine has PyTorch.
#   bash benchmarks/gpu/pack.sh BUILD_DIRECTORY OUT_DIRECTORY
set -euo pipefail
build=$(realpath "$1") out=$2
rm -rf "$out" && mkdir -p "$out"
for file in rft librft.so librft_parquet.so rft_cuda.so cuda_device_tests gpu_bench decode_bench; do
  [ -e "$build/$file" ] || continue
  cp "$build/$file" "$out/"
  strip --strip-debug "$out/$file"
done
stays='torch|c10|cuda|cudnn|cublas|cufft|cusparse|cusolver|curand|nccl|nvrtc|nvshmem|nvjitlink|cupti|cufile|gomp|arrow|parquet'
stays="$stays|ld-linux|libc\.so|libm\.so|libdl|libpthread|librt\.|libstdc|libgcc|linux-vdso"
for file in "$out"/*; do
  ldd "$file" 2>/dev/null | awk '$2 == "=>" && $3 ~ /^\// {print $3}' | grep -vE "/($stays|lib($stays))" || true
done | sort -u | while read -r library; do
  cp -Ln "$library" "$out/"
done
du -sh "$out" | cut -f1

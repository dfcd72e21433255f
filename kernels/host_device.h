#pragma once
/// RFT_HOST_DEVICE marks the arithmetic of one row, which runs on the GPU and, in the tests, on the CPU.
#ifdef __CUDACC__
#define RFT_HOST_DEVICE __host__ __device__ __forceinline__
#else
#define RFT_HOST_DEVICE inline
#endif

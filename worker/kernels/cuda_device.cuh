// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#if defined(__CUDACC__)
#define CUDA_BOTH __host__ __device__
#else
#define CUDA_BOTH
#endif

/// What every CUDA kernel here needs: launches that overlap, and loads that are read once.
namespace worker::kernels::cuda {

/// A fault of the device ends the process: the executor's child, which its parent reports.
inline void check(cudaError_t status, const char* file, int line) {
    if (status == cudaSuccess) return;
    std::fprintf(stderr, "CUDA: %s at %s:%d\n", cudaGetErrorString(status), file, line);
    std::abort();
}
#define MR_CUDA(call) ::worker::kernels::cuda::check((call), __FILE__, __LINE__)

/// Launches `kernel` so that it may begin while the one before it ends (compute capability 9.0 and
/// later; CUDA programming guide, "programmatic dependent launch"). Every kernel calls
/// wait_for_inputs() before it reads what another wrote, or writes what another reads.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, unsigned threads, std::size_t shared,
            cudaStream_t stream, Arguments... arguments) {
    cudaLaunchConfig_t config{};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    cudaLaunchAttribute overlap{};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    config.attrs = &overlap;
    config.numAttrs = 1;
    MR_CUDA(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
}

/// More than 48 KiB of shared memory are to be asked for.
template <typename Kernel>
void allow_shared(Kernel kernel, std::size_t bytes) {
    MR_CUDA(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(bytes)));
}

#if defined(__CUDACC__)

/// Lets the next kernel begin, then waits until the one before is wholly done.
__device__ __forceinline__ void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Weights are read once a step: they need no place in L1. Volatile, so that a load stands where
/// it is written: before wait_for_inputs().
__device__ __forceinline__ uint4 load_weights(const uint4* from) {
    uint4 out;
    asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
                 : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
                 : "l"(from));
    return out;
}

/// Sum over a warp in a fixed order; every lane gets it.
__device__ __forceinline__ float warp_sum(float value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value += __shfl_xor_sync(0xFFFFFFFFU, value, offset);
    return value;
}
__device__ __forceinline__ float warp_max(float value) {
    for (int offset = 16; offset > 0; offset /= 2)
        value = fmaxf(value, __shfl_xor_sync(0xFFFFFFFFU, value, offset));
    return value;
}

/// Sum over a block of whole warps in a fixed order; every thread gets it. `shared` has 32 places.
__device__ __forceinline__ float block_sum(float value, float* shared) {
    value = warp_sum(value);
    const unsigned warp = threadIdx.x / 32;
    if (threadIdx.x % 32 == 0) shared[warp] = value;
    __syncthreads();
    float total = 0;
    for (unsigned i = 0; i < blockDim.x / 32; ++i)
        total += shared[i];
    __syncthreads();
    return total;
}

#endif  // __CUDACC__

}  // namespace worker::kernels::cuda

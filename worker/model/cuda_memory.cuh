// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/cuda_device.cuh"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <utility>

namespace worker::model {

/// Memory of the device. Zeroed, so that padding is never a NaN.
template <typename Value>
class DeviceArray {
 public:
    DeviceArray() = default;
    ~DeviceArray() { cudaFree(data_); }
    DeviceArray(DeviceArray&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
    DeviceArray& operator=(DeviceArray&& other) noexcept {
        std::swap(data_, other.data_);
        return *this;
    }
    [[nodiscard]] static ledger::base::Result<DeviceArray> make(std::size_t count) {
        DeviceArray out;
        if (count == 0) return out;
        void* memory = nullptr;
        const cudaError_t status = cudaMalloc(&memory, count * sizeof(Value));
        if (status == cudaErrorMemoryAllocation) {
            cudaGetLastError();  // it is not an error of the next call
            return ledger::base::fail(
                ledger::base::ErrorCode::job_limit,
                "the device has not " + std::to_string(count * sizeof(Value) >> 20U) +
                    " MiB of memory left for the model; close others or take a smaller one");
        }
        MR_CUDA(status);
        out.data_ = static_cast<Value*>(memory);
        MR_CUDA(cudaMemset(memory, 0, count * sizeof(Value)));
        MR_CUDA(cudaStreamSynchronize(nullptr));  // other streams do not wait for it
        return out;
    }
    [[nodiscard]] static ledger::base::Result<DeviceArray> copy(std::span<const Value> values) {
        TRY_ASSIGN(DeviceArray out, make(values.size()));
        if (values.empty()) return out;
        MR_CUDA(cudaMemcpy(out.data_, values.data(), values.size_bytes(), cudaMemcpyHostToDevice));
        MR_CUDA(cudaStreamSynchronize(nullptr));
        return out;
    }
    [[nodiscard]] Value* get() const noexcept { return data_; }

 private:
    Value* data_ = nullptr;
};

/// Host memory that copies run beside.
template <typename Value>
class PinnedArray {
 public:
    explicit PinnedArray(std::size_t count) {
        void* memory = nullptr;
        MR_CUDA(cudaMallocHost(&memory, std::max<std::size_t>(count, 1) * sizeof(Value)));
        data_ = static_cast<Value*>(memory);
    }
    ~PinnedArray() { cudaFreeHost(data_); }
    PinnedArray(const PinnedArray&) = delete;
    PinnedArray& operator=(const PinnedArray&) = delete;
    [[nodiscard]] Value* get() const noexcept { return data_; }

 private:
    Value* data_ = nullptr;
};

}  // namespace worker::model

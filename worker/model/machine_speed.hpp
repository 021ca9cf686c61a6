// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/training.hpp"

#include <cstdint>

namespace worker::model {

/// What an ask tells of a machine, as measured on it; both above zero.
struct MachineSpeed {
    std::uint32_t gflop_per_s = 0;      ///< of a large product: bf16 on a GPU, fp32 on a CPU
    std::uint32_t memory_mb_per_s = 0;  ///< 10^6 bytes: read by a CPU, read and written by a GPU
    friend bool operator==(const MachineSpeed&, const MachineSpeed&) = default;
};

/// Measures the GPU that this process sees, or its CPU with `options.threads` threads, for about
/// a second: the best of many runs, since what else runs on a machine only takes away. Takes about
/// 300 MB of the CPU's memory or 2 GB of the GPU's. worker_failed without the device;
/// out_of_memory.
[[nodiscard]] ledger::base::Result<MachineSpeed> measure_speed(const RuntimeOptions& options);

}  // namespace worker::model

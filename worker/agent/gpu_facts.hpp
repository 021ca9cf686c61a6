// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace worker::agent {

/// One GPU as its driver tells it. What a driver or card does not tell is empty.
struct GpuFacts {
    std::string uuid;
    std::string name;  ///< the maker's, e.g. "NVIDIA H100 80GB HBM3"
    std::uint64_t memory_mib = 0;
    std::uint64_t free_mib = 0;
    std::optional<std::uint32_t> pcie_generation;
    std::optional<std::uint32_t> pcie_lanes;
    std::optional<std::uint64_t> ecc_errors;  ///< uncorrected, since the driver was loaded
    std::optional<std::uint32_t> temperature_c;
    std::optional<std::uint32_t> power_mw;
};

struct GpuReport {
    std::string driver;
    std::vector<GpuFacts> gpus;
};

inline constexpr const char* kNvmlLibrary = "libnvidia-ml.so.1";

/// Asks NVIDIA's management library, which comes with the driver and is looked for when this is
/// called: nothing here is needed to build or to run without it. Loads, asks and unloads: a worker
/// that waits holds nothing of the driver's.
/// unsupported: no such library (no NVIDIA driver); unavailable: it is there and does not answer.
[[nodiscard]] ledger::base::Result<GpuReport> read_gpus(const char* library = kNvmlLibrary);

/// What is wrong with the GPUs for a worker that offers `count` of `vram_mib` each: a sentence for
/// each fault; empty when nothing is.
struct GpuFault {
    std::string what;
    std::string fix;
};
[[nodiscard]] std::vector<GpuFault> find_gpu_faults(const GpuReport& report, std::uint32_t count,
                                                    std::uint64_t vram_mib);

}  // namespace worker::agent

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace marketplace::domain {

using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::Hash32;
using ledger::base::Signature;
using ledger::base::TimeMs;

/// What an ask sells: the parsed form of the resource document whose SHA-256 the ask signs.
struct Resource {
    std::string gpu_model;  ///< "cpu" for a machine without GPU
    std::uint32_t gpu_count = 0;
    std::uint64_t vram_mib = 0;
    std::uint64_t ram_mib = 0;
    std::uint32_t cpu_cores = 0;
    std::string region;
    std::string runtime;                   ///< e.g. "libtorch-1.13.1-cpu"
    std::uint64_t max_flops_per_step = 0;  ///< largest training step taken at the step price
    Address worker;                        ///< key of the worker that does the work
    friend bool operator==(const Resource&, const Resource&) = default;
};

/// What a bid demands of a resource: the parsed form of the constraints document. Empty list: any.
struct Constraints {
    std::vector<std::string> gpu_models;
    std::uint32_t min_gpu_count = 0;
    std::uint64_t min_vram_mib = 0;
    std::vector<std::string> regions;
    std::vector<std::string> runtimes;
    std::vector<Address> providers;          ///< only these
    std::vector<Address> exclude_providers;  ///< none of these
    friend bool operator==(const Constraints&, const Constraints&) = default;
};

}  // namespace marketplace::domain

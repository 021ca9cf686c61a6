// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::domain {

using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::Hash32;
using ledger::base::Signature;
using ledger::base::TimeMs;

/// How far two runs of the same work may differ: different goods in the book.
enum class NumericClass : std::uint8_t {
    kAny = 0,  ///< the buyer does not care
    kD0 = 1,   ///< canonical bits, anywhere
    kD1 = 2,   ///< pinned environment, bitwise
    kD2 = 3,   ///< tolerance on one step from a committed state
    kD3 = 4,   ///< attested or proved
};
inline constexpr std::uint8_t kNumericClassCount = 5;
[[nodiscard]] std::string_view to_string(NumericClass value) noexcept;  ///< "any", "d0", …
/// The class's bit in Resource::numeric_classes; 0 for kAny.
[[nodiscard]] constexpr std::uint8_t bit_of(NumericClass value) noexcept {
    return value == NumericClass::kAny
               ? std::uint8_t{0}
               : static_cast<std::uint8_t>(1U << (static_cast<std::uint8_t>(value) - 1U));
}

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
    std::uint64_t disk_mib = 0;            ///< free for a job
    std::uint32_t bandwidth_mbps = 0;      ///< to the outside
    std::string interconnect;              ///< between its GPUs: "pcie", "nvlink"; empty: not told
    std::uint8_t numeric_classes = 0;      ///< bit per class it can run, see bit_of
    std::uint8_t verification_tier = 0;    ///< highest it takes part in
    std::uint16_t max_gang = 1;            ///< largest gang it joins
    std::vector<Address> buyers;           ///< only these
    std::vector<Address> exclude_buyers;   ///< none of these
    // Of one GPU, or of the whole CPU, as measured on it; 0: not told.
    std::uint32_t gflop_per_s = 0;      ///< of large products: bf16 on a GPU, fp32 on a CPU
    std::uint32_t memory_mb_per_s = 0;  ///< read or copied, in 10^6 bytes
    friend bool operator==(const Resource&, const Resource&) = default;
};

/// When a bid is paired.
enum class Clearing : std::uint8_t {
    kLimit = 0,  ///< at once, at the ask's price
    kBatch = 1,  ///< sealed until the next batch, which clears at one price
};
inline constexpr std::uint8_t kClearingCount = 2;
[[nodiscard]] std::string_view to_string(Clearing value) noexcept;  ///< "limit", "batch"

/// What a bid demands of a resource, and how it takes part in the book: the parsed form of the
/// constraints document. Empty list, zero: any.
struct Constraints {
    std::vector<std::string> gpu_models;
    std::uint32_t min_gpu_count = 0;
    std::uint64_t min_vram_mib = 0;
    std::vector<std::string> regions;
    std::vector<std::string> runtimes;
    std::vector<Address> providers;          ///< only these
    std::vector<Address> exclude_providers;  ///< none of these
    std::uint64_t min_ram_mib = 0;
    std::uint64_t min_disk_mib = 0;
    std::uint32_t min_cpu_cores = 0;
    std::uint32_t min_bandwidth_mbps = 0;
    std::uint32_t min_reliability_bp = 0;  ///< 0 to 10,000
    std::uint32_t min_reclaim_window_s = 0;
    std::vector<std::string> interconnects;
    NumericClass numeric_class = NumericClass::kAny;
    std::uint16_t gang = 1;             ///< workers that start together, whole or not at all
    std::uint64_t min_slice_units = 0;  ///< least per lease; 0: all that is left in one lease
    std::uint64_t max_duration_s = 0;   ///< a lease ends after it at the latest; 0: deadline
    Clearing clearing = Clearing::kLimit;
    /// Reverse-Dutch ramp: the price offered rises from this to the ceiling; 0: none.
    std::uint64_t ramp_from_atoms = 0;
    std::uint64_t ramp_start_s = 0;
    std::uint64_t ramp_end_s = 0;
    std::uint32_t min_gflop_per_s = 0;
    std::uint32_t min_memory_mb_per_s = 0;
    friend bool operator==(const Constraints&, const Constraints&) = default;
};

}  // namespace marketplace::domain

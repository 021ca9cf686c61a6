// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "worker/agent/commands.hpp"

#include <vector>

namespace worker::agent {

struct RecheckOptions {
    std::filesystem::path folder;         ///< as `millrace jobs evidence` made it
    std::vector<std::uint64_t> segments;  ///< by number; none: all, or `sample` of them
    std::uint64_t sample = 0;             ///< so many that follow from `seed`
    ledger::base::Hash32 seed;
    int threads = 0;                   ///< 0: those that the worker's machine may have used
    std::string device = "cpu";        ///< or "cuda"
    std::uint64_t memory_mib = 0;      ///< that a segment may take
    std::string rpc;                   ///< a node to ask for the leases; empty: none is asked
    std::filesystem::path deployment;  ///< contracts that the auditor trusts; empty: not compared
    sandbox::Mode sandbox = sandbox::Mode::kBwrap;
};
enum class RecheckResult : std::uint8_t {
    kSame = 0,     ///< every segment came out bit by bit
    kDiffers = 1,  ///< one did not, by more than rounding explains
    kUnsure = 2,   ///< one could not be checked, or is only close
};
/// Runs segments of a job again and prints what came out. Needs no settings and no market. An error
/// is evidence that cannot be read or was changed: nothing was checked.
[[nodiscard]] ledger::base::Result<RecheckResult> run_recheck(const RecheckOptions& options,
                                                              Output output);

}  // namespace worker::agent

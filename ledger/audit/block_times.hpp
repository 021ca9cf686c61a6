// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/report.hpp"
#include "ledger/base/result.hpp"
#include "ledger/rpc/chain.hpp"

#include <cstdint>
#include <map>

namespace ledger::audit::detail {

/// Times of blocks, asked for once each.
class BlockTimes {
 public:
    explicit BlockTimes(rpc::Chain& chain) : chain_(chain) {}

    /// Of every place of the report that names one lease or account.
    [[nodiscard]] base::Result<void> fill_places(AuditReport& report);
    /// What each day's claims paid. Blocks between two of one day are not asked for.
    [[nodiscard]] base::Result<void> fill_days(AuditReport& report);

 private:
    [[nodiscard]] base::Result<std::uint64_t> at(std::uint64_t block);
    [[nodiscard]] base::Result<void> fill(Place& place);

    rpc::Chain& chain_;
    std::map<std::uint64_t, std::uint64_t> known_;
};

}  // namespace ledger::audit::detail

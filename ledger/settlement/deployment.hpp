// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace ledger::settlement {

/// Where the market's contracts stand: the deployment file written by the deploy script.
struct Deployment {
    std::uint64_t chain_id = 0;
    std::uint64_t block = 0;  ///< first block that can hold events of these contracts
    base::Address token;
    base::Address escrow;
    base::Address providers;
    base::Address leases;
    base::Address receipt_log;
    base::Address treasury;
    base::Address disputes;         ///< zero: the deployment has none
    base::Address market_operator;  ///< "operator" in the file
    std::uint64_t close_window_s = 0;
    std::uint64_t withdraw_delay_s = 0;
    std::uint64_t fee_bps = 0;
    friend bool operator==(const Deployment&, const Deployment&) = default;

    /// Domain of asks, bids, delegations, receipts and vouchers.
    [[nodiscard]] eth::Domain leases_domain() const { return {chain_id, leases}; }
    /// Domain of tree heads.
    [[nodiscard]] eth::Domain log_domain() const { return {chain_id, receipt_log}; }
};

/// config_invalid with the field's name. Fields not listed here are ignored: deploy scripts may
/// add addresses (governance) that this program does not use.
[[nodiscard]] base::Result<Deployment> parse_deployment(std::string_view text);
[[nodiscard]] std::string to_text(const Deployment& deployment);
/// data_missing when there is no such file.
[[nodiscard]] base::Result<Deployment> read_deployment(const std::filesystem::path& path);

}  // namespace ledger::settlement

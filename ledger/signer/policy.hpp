// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/u256.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace ledger::signer {

using Selector = std::array<std::uint8_t, 4>;

/// What may be signed. Everything not named here is refused.
struct Policy {
    std::uint64_t chain_id = 0;

    // Transactions: one sender, named contracts and functions, no value, bounded fees.
    base::Address transaction_sender;
    std::set<std::pair<base::Address, Selector>> allowed_calls;
    std::uint64_t transactions_per_day = 0;
    eth::U256 max_fee_per_gas;
    std::uint64_t gas_limit_max = 0;

    // Vouchers: as a delegate, for one contract, bounded per lease, and per UTC day for each
    // provider and in all.
    base::Address leases;
    std::set<base::Address> voucher_signers;
    std::uint64_t voucher_atoms_per_lease = 0;
    std::uint64_t voucher_atoms_per_provider = 0;  ///< in a day
    std::uint64_t voucher_atoms_per_day = 0;

    // Tree heads.
    base::Address receipt_log;
    base::Address tree_head_signer;
};

/// config_invalid names the setting. Unknown settings are refused: a misspelt cap is no cap.
[[nodiscard]] base::Result<Policy> parse_policy(std::string_view toml);
[[nodiscard]] base::Result<Policy> read_policy(const std::filesystem::path& path);

/// What `millrace-signer policy` writes for a market: the calls its settlement makes, and no more.
struct PolicyTemplate {
    std::uint64_t chain_id = 0;
    base::Address leases;
    base::Address receipt_log;
    base::Address market_operator;
    base::Address delegate;
    std::uint64_t voucher_atoms_per_lease = 0;
    std::uint64_t voucher_atoms_per_provider = 0;
    std::uint64_t voucher_atoms_per_day = 0;
    // Payments that callers signed and the market hands in (x402); zero: none.
    base::Address token{};       ///< whose signed transfers
    base::Address upto_proxy{};  ///< that takes payments up to an amount
};
[[nodiscard]] std::string make_policy_text(const PolicyTemplate& values);

}  // namespace ledger::signer

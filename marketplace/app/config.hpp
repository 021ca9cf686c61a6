// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/upto_permit.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::app {

/// Settings of `millrace-market`: a TOML file; every key has a default but the three paths.
struct Config {
    std::string listen_address = "127.0.0.1";
    std::uint16_t listen_port = 8460;
    std::filesystem::path data_dir;       ///< database and blobs
    std::filesystem::path deployment;     ///< JSON file of the deploy script
    std::filesystem::path signer_socket;  ///< of millrace-signer
    /// The built console; empty: the one beside the program, or none.
    std::filesystem::path console_dir;
    std::vector<std::string> rpc_urls = {"http://127.0.0.1:8545"};
    std::uint64_t rpc_quorum = 0;       ///< nodes that must agree; 0: more than half
    std::uint64_t rpc_head_age_s = 60;  ///< an older newest block is stale; 0: any age
    std::uint64_t finality_depth = 2;   ///< blocks, itself counted, before an event counts
    /// Not in the file: said once at a start, after foreign_nonce (ledger/settlement/README.md).
    bool adopt_chain_nonce = false;
    std::uint64_t worker_grace_ms = 15'000;  ///< away this long: the worker is lost
    std::uint64_t settle_poll_ms = 500;      ///< between looks at the chain
    std::uint64_t claim_at_atoms = 250'000;  ///< unclaimed value that is worth a claim
    /// What the chain's coin (10^18 wei) is worth. Given, a claim is made at 100 times its gas.
    std::uint64_t atoms_per_coin = 0;
    ledger::base::Address witness;                  ///< co-signs log heads; zero: none is asked
    std::uint64_t witness_patience_ms = 3'600'000;  ///< without it that long: nothing is opened
    std::uint64_t anchor_every_ms = 60'000;         ///< between anchored log heads
    std::uint64_t voucher_period_atoms = 250'000;
    std::uint64_t max_failovers = 5;
    std::uint64_t batch_period_ms = 10'000;          ///< sealed batches clear at its multiples
    std::uint64_t blob_quota_bytes = 32ULL << 30;    ///< of all blobs
    std::uint64_t blob_account_bytes = 16ULL << 30;  ///< of the blobs one account brought
    /// A blob that nothing refers to is kept this long after its last use.
    std::uint64_t blob_keep_ms = 7ULL * 24 * 3600 * 1000;
    // Token buckets of the API: requests per address, orders per account.
    std::uint64_t requests_per_s = 500;
    std::uint64_t request_burst = 2000;
    std::uint64_t orders_per_s = 100;
    std::uint64_t order_burst = 1000;
    /// Webhooks may go to loopback and private addresses and by plain http.
    bool webhooks_to_private = false;
    /// Whose leases serve callers without an account, and who is paid for it; zero: nobody is.
    ledger::base::Address x402_account;
    std::string x402_token_name;  ///< of the settlement token's EIP-712 domain
    std::string x402_token_version = "1";
    std::uint64_t x402_least_atoms = 1000;  ///< of one call: settling it costs gas
    // Payments up to an amount.
    ledger::base::Address x402_permit2 = ledger::eth::kPermit2;
    ledger::base::Address x402_proxy = ledger::eth::kUptoProxy;
    /// Calls of one payer that are served and not paid yet; 0: such payments are not taken.
    std::uint64_t x402_unpaid_calls = 4;
    /// Names people reach the market by; a sign-in is for one of them, or for loopback.
    std::vector<std::string> public_names;
    std::vector<std::string> cors_origins;  ///< exact origins that browsers may call from
    bool log_json = false;                  ///< the log as one JSON object a line
    bool log_requests = false;              ///< a line for each request, not only for faults
};

/// config_invalid names the key; unknown keys are refused. Paths are relative to the file.
[[nodiscard]] ledger::base::Result<Config> parse_config(std::string_view text,
                                                        const std::filesystem::path& base);
/// config_invalid when the file cannot be read.
[[nodiscard]] ledger::base::Result<Config> read_config(const std::filesystem::path& file);

}  // namespace marketplace::app

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"
#include "marketplace/cli/market_client.hpp"
#include "marketplace/cli/settings.hpp"
#include "marketplace/cli/terminal.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace CLI {
class App;
}

namespace marketplace::cli {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::Result;

/// What everybody may know of the market.
struct MarketFacts {
    ledger::settlement::Deployment deployment;
    Address operator_address;
    Address delegate_address;  ///< signs vouchers for buyers who delegate
    std::uint64_t voucher_period_atoms = 0;
    std::string version;
    nlohmann::json document;
};

/// What a command works with; things are opened when first needed.
class Context {
 public:
    Context();

    Settings settings;
    Terminal out;       ///< data
    Terminal messages;  ///< everything else (stderr)

    [[nodiscard]] MarketClient& market();
    [[nodiscard]] ledger::rpc::Chain& chain();
    [[nodiscard]] Result<const ledger::crypto::PrivateKey*> key();
    /// The wallet's account, without opening its key.
    [[nodiscard]] Result<Address> account();
    /// Market facts; chain_mismatch when the node serves another chain and `check_chain` is asked.
    [[nodiscard]] Result<const MarketFacts*> facts();
    [[nodiscard]] Result<void> check_chain();

    [[nodiscard]] bool json() const noexcept { return settings.json; }
    /// One JSON document on stdout.
    void print_json(const nlohmann::json& document);
    /// A line for people; nothing with --json.
    void say(std::string_view text);
    /// Asks for a yes on the terminal; --yes answers it. Without a terminal: config_invalid.
    [[nodiscard]] Result<void> confirm(std::string_view question);

 private:
    std::unique_ptr<MarketClient> market_;
    std::unique_ptr<ledger::rpc::Chain> chain_;
    std::optional<ledger::crypto::PrivateKey> key_;
    std::optional<MarketFacts> facts_;
};

/// A command chosen by the parser: run after the settings are loaded.
using Action = std::function<Result<void>(Context&)>;
/// Sets the action of a subcommand when the parser meets it.
using Choose = std::function<void(CLI::App*, Action)>;

/// Each adds its commands to the tree.
void add_wallet_commands(CLI::App& app, const Choose& choose);
void add_money_commands(CLI::App& app, const Choose& choose);
void add_blob_commands(CLI::App& app, const Choose& choose);
void add_train_commands(CLI::App& app, const Choose& choose);
void add_finetune_commands(CLI::App& app, const Choose& choose);
void add_job_commands(CLI::App& app, const Choose& choose);
void add_serve_commands(CLI::App& app, const Choose& choose);
void add_market_commands(CLI::App& app, const Choose& choose);
void add_order_commands(CLI::App& app, const Choose& choose);
void add_audit_commands(CLI::App& app, const Choose& choose);
void add_accuse_commands(CLI::App& app, const Choose& choose);
void add_object_commands(CLI::App& app, const Choose& choose);
void add_witness_commands(CLI::App& app, const Choose& choose);
void add_proof_commands(CLI::App& app, const Choose& choose);

/// Signs a call with the wallet's key, sends it and waits until it is mined: its hash. A revert is
/// chain_refused with the contract's error in words.
[[nodiscard]] Result<Hash32> send_transaction(Context& context, const Address& to,
                                              ledger::base::Bytes data);

/// "0.25" for 250000.
[[nodiscard]] std::string tokens(std::uint64_t atoms);
/// A person's amount in tokens, above zero.
[[nodiscard]] Result<std::uint64_t> parse_amount(const std::string& text, std::string_view name);

}  // namespace marketplace::cli

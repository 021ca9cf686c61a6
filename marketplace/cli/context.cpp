// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/context.hpp"

#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/eth_client.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "marketplace/cli/wallet.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <iostream>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Money;

constexpr std::uint64_t kTransactionTimeoutMs = 120'000;

/// Ends a command under --dry-run: the program takes this code for success then.
tl::unexpected<ledger::base::Error> end_dry_run() {
    return fail(ErrorCode::cancelled, "dry run: nothing was sent");
}

Result<Hash32> try_transaction(Context& context, const Address& to, ledger::base::Bytes data) {
    TRY_ASSIGN(const Address from, context.account());
    ledger::rpc::CallRequest request;
    request.from = from;
    request.to = to;
    request.data = std::move(data);
    const auto gas = context.chain().estimate_gas(request);
    if (!gas && gas.error().code() == ErrorCode::chain_refused)
        return fail(ErrorCode::chain_refused, ledger::settlement::explain_revert(gas.error()));
    if (!gas) return tl::make_unexpected(gas.error());
    const std::string contract = ledger::crypto::to_checksum(to);
    if (context.json())
        context.print_json({{"dry_run", true}, {"to", contract}, {"gas", *gas}});
    else
        context.say(fmt::format("The call to {} would go through, for {} gas.", contract, *gas));
    return end_dry_run();
}

}  // namespace

Context::Context()
    : out(stdout, Terminal::detect(stdout)), messages(stderr, Terminal::detect(stderr)) {}

MarketClient& Context::market() {
    if (!market_)
        market_ = std::make_unique<MarketClient>(settings, messages, [this] { return key(); });
    return *market_;
}

ledger::rpc::Chain& Context::chain() {
    if (!chain_) chain_ = std::make_unique<ledger::rpc::EthClient>(settings.rpc);
    return *chain_;
}

Result<const ledger::crypto::PrivateKey*> Context::key() {
    if (!key_) {
        TRY_ASSIGN(auto opened, open_wallet(settings));
        key_.emplace(std::move(opened));
    }
    return &*key_;
}

Result<Address> Context::account() {
    if (key_) return key_->address();
    return wallet_address(settings.key_file);
}

Result<const MarketFacts*> Context::facts() {
    if (facts_) return &*facts_;
    MarketFacts facts;
    TRY_ASSIGN(facts.document, market().get("/v1/market/info", Auth::kNone));
    TRY_ASSIGN(const nlohmann::json* deployment,
               ledger::rpc::member_at(facts.document, "deployment"));
    const std::string text = deployment->is_string() ? deployment->get<std::string>()
                                                     : ledger::rpc::to_text(*deployment);
    TRY_ASSIGN(facts.deployment, ledger::settlement::parse_deployment(text));
    TRY_ASSIGN(const std::string by, ledger::rpc::string_at(facts.document, "operator_address"));
    TRY_ASSIGN(facts.operator_address, ledger::crypto::parse_address(by));
    TRY_ASSIGN(const std::string delegate,
               ledger::rpc::string_at(facts.document, "delegate_address"));
    TRY_ASSIGN(facts.delegate_address, ledger::crypto::parse_address(delegate));
    facts.voucher_period_atoms =
        ledger::rpc::u64_text_at(facts.document, "voucher_period_atoms").value_or(0);
    facts.version = ledger::rpc::string_at(facts.document, "version").value_or("unknown");
    facts_ = std::move(facts);
    return &*facts_;
}

Result<void> Context::check_chain() {
    TRY_ASSIGN(const MarketFacts* known, facts());
    TRY_ASSIGN(const std::uint64_t chain_id, chain().chain_id());
    if (chain_id != known->deployment.chain_id)
        return fail(ErrorCode::chain_mismatch,
                    fmt::format("the node at {} serves chain {}, the market settles on chain {}",
                                settings.rpc, chain_id, known->deployment.chain_id));
    return {};
}

void Context::print_json(const nlohmann::json& document) {
    out.line(ledger::rpc::to_text(document));
}

void Context::say(std::string_view text) {
    if (!json()) out.line(text);
}

Result<void> Context::confirm(std::string_view question, Then then) {
    if (settings.dry_run && then == Then::kRequest) return end_dry_run();
    if (settings.dry_run) return {};
    if (settings.yes || settings.json) return {};
    if (isatty(STDIN_FILENO) != 1)
        return fail(ErrorCode::config_invalid, "nobody is there to confirm: add --yes");
    messages.write(fmt::format("{} [y/N] ", question));
    std::string answer;
    std::getline(std::cin, answer);
    if (answer == "y" || answer == "Y" || answer == "yes") return {};
    return fail(ErrorCode::cancelled, "nothing was sent");
}

Result<Hash32> send_transaction(Context& context, const Address& to, ledger::base::Bytes data) {
    if (context.settings.dry_run) return try_transaction(context, to, std::move(data));
    TRY_ASSIGN(const auto* key, context.key());
    ledger::settlement::LocalTransactionSigner signer(*key);
    const auto receipt = ledger::settlement::send_and_wait(context.chain(), signer, to,
                                                           std::move(data), kTransactionTimeoutMs);
    if (receipt) return receipt->transaction_hash;
    if (receipt.error().code() == ErrorCode::chain_refused)
        return fail(ErrorCode::chain_refused, ledger::settlement::explain_revert(receipt.error()));
    return tl::make_unexpected(receipt.error());
}

std::string tokens(std::uint64_t atoms) {
    return Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

Result<std::uint64_t> parse_amount(const std::string& text, std::string_view name) {
    const auto money = Money::parse_tokens(text);
    if (!money || money->atoms() <= 0)
        return fail(
            ErrorCode::invalid_field,
            fmt::format("{} \"{}\": give tokens above 0 with at most 6 decimals", name, text));
    return static_cast<std::uint64_t>(money->atoms());
}

}  // namespace marketplace::cli

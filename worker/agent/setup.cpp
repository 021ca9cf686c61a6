// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "ledger/settlement/submitter.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/job_options.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/market_facts.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

namespace worker::agent {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Money;
using ledger::base::to_hex;
using ledger::crypto::KeyStoreCost;
using ledger::crypto::PrivateKey;
using ledger::crypto::to_checksum;
using ledger::rpc::BlockTag;
namespace settlement = ledger::settlement;

std::string tokens(std::uint64_t atoms) {
    return Money(static_cast<std::int64_t>(atoms)).to_tokens();
}

/// One question; an empty answer takes the default.
std::string ask(std::string_view question, const std::string& preset) {
    fmt::print(stderr, "{} [{}]: ", question, preset);
    std::fflush(stderr);
    std::string answer;
    if (!std::getline(std::cin, answer) || answer.empty()) return preset;
    return answer;
}

Result<void> ask_questions(WorkerConfig& config) {
    config.market = ask("Market", config.market);
    config.rpc = ask("Node of the chain (JSON-RPC)", config.rpc);
    const std::string price =
        ask("Price per training step, in tokens", tokens(config.price_step_atoms));
    TRY_ASSIGN(const Money money, Money::parse_tokens(price));
    config.price_step_atoms = static_cast<std::uint64_t>(money.atoms());
    return check_config(config);
}

/// A key from a file: raw hex, or a key file with the same password.
Result<PrivateKey> import_key(const std::filesystem::path& file, const std::string& password) {
    TRY_ASSIGN(std::string text, read_file(file, 16 * 1024));
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
        text.pop_back();
    if (text.starts_with('{')) return ledger::crypto::decrypt_key(text, password);
    TRY_ASSIGN(const auto bytes, ledger::base::parse_hex(text, 32));
    return PrivateKey::from_bytes(bytes);
}

Result<Address> keep_or_make_key(const std::filesystem::path& file, const std::string& password,
                                 KeyStoreCost cost, const std::filesystem::path& import) {
    std::error_code ignored;
    if (std::filesystem::exists(file, ignored)) {
        TRY_ASSIGN(const PrivateKey key, ledger::crypto::read_key_file(file, password));
        return key.address();
    }
    if (import.empty()) {
        const PrivateKey key = PrivateKey::generate();
        TRY(ledger::crypto::write_key_file(file, key, password, cost));
        return key.address();
    }
    TRY_ASSIGN(const PrivateKey key, import_key(import, password));
    TRY(ledger::crypto::write_key_file(file, key, password, cost));
    return key.address();
}

Result<std::uint64_t> read_minimum_bond(ledger::rpc::Chain& chain, const Address& providers) {
    ledger::rpc::CallRequest request;
    request.to = providers;
    request.data = ledger::eth::abi::encode_call("minimumBond()", ledger::eth::abi::Encoder());
    TRY_ASSIGN(const auto data, chain.call(request, BlockTag::Name::kLatest));
    return ledger::eth::abi::Decoder(data).u64(0);
}

void print_registration(Output output, const Address& provider, const Address& worker,
                        std::uint64_t bond, bool was_registered) {
    if (output == Output::kJson) {
        const nlohmann::json document{{"provider", to_hex(provider)},
                                      {"worker", to_hex(worker)},
                                      {"bond", std::to_string(bond)},
                                      {"already_registered", was_registered}};
        fmt::print("{}\n", ledger::rpc::to_text(document));
        return;
    }
    fmt::print("{} worker {}\n  of provider {}, bond {}\nNext: millrace-worker run\n",
               was_registered ? "Registered already:" : "Registered", to_checksum(worker),
               to_checksum(provider), tokens(bond));
}

}  // namespace

Result<void> run_setup(const SetupOptions& options) {
    WorkerConfig config = options.config;
    if (options.ask_questions) TRY(ask_questions(config));
    TRY(check_config(config));
    std::error_code error;
    std::filesystem::create_directories(config.data, error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + config.data.string());
    std::filesystem::permissions(config.data, std::filesystem::perms::owner_all, error);
    TRY(make_password_file(config));
    TRY_ASSIGN(const std::string password, read_password(config));
    const KeyStoreCost cost =
        options.light_key_files ? KeyStoreCost::kLight : KeyStoreCost::kStandard;
    TRY_ASSIGN(const Address provider,
               keep_or_make_key(config.provider_key, password, cost, options.import_provider_key));
    TRY_ASSIGN(const Address worker, keep_or_make_key(config.worker_key, password, cost, {}));
    if (provider == worker)
        return fail(ErrorCode::config_invalid, "provider and worker need two different keys");
    if (const auto speed = job_speed(config)) {
        config.gflop_per_s = speed->gflop_per_s;
        config.memory_mb_per_s = speed->memory_mb_per_s;
    } else {
        log_line("warning", "the speed is not measured: " + speed.error().message());
    }
    TRY(write_file(config.data / "worker.toml", to_toml(config)));
    if (options.output == Output::kJson) {
        const nlohmann::json document{{"provider", to_hex(provider)},
                                      {"worker", to_hex(worker)},
                                      {"gflop_per_s", config.gflop_per_s},
                                      {"memory_mb_per_s", config.memory_mb_per_s},
                                      {"config", (config.data / "worker.toml").string()}};
        fmt::print("{}\n", ledger::rpc::to_text(document));
        return {};
    }
    fmt::print(
        "Settings   {}\nProvider   {}  (owns bond and earnings: send gas and tokens here)\n"
        "Worker     {}  (signs receipts)\nSpeed      {} GFLOP/s, memory {} MB/s, as "
        "measured\nPrices     {} per step, {} / {} per million tokens in / "
        "out\nNext: millrace-worker register\n",
        (config.data / "worker.toml").string(), to_checksum(provider), to_checksum(worker),
        config.gflop_per_s, config.memory_mb_per_s, tokens(config.price_step_atoms),
        tokens(config.price_input_token_atoms), tokens(config.price_output_token_atoms));
    return {};
}

Result<void> run_register(const WorkerConfig& config, Output output) {
    TRY_ASSIGN(const PrivateKey provider, open_key(config.provider_key, config));
    TRY_ASSIGN(const PrivateKey worker, open_key(config.worker_key, config));
    const MarketHttp market(config.market, worker);
    TRY_ASSIGN(const MarketFacts facts, pinned_facts(config, market));
    const auto chain = dial_chain(config);
    const Address& providers = facts.deployment.providers;
    TRY_ASSIGN(const Address known, settlement::read_worker_of(*chain, providers, worker.address(),
                                                               BlockTag::Name::kLatest));
    TRY_ASSIGN(
        const std::uint64_t bonded,
        settlement::read_bond_of(*chain, providers, provider.address(), BlockTag::Name::kLatest));
    TRY_ASSIGN(const std::uint64_t least, read_minimum_bond(*chain, providers));
    const std::uint64_t wanted = std::max(config.bond_atoms, least);
    if (!known.is_zero() && known != provider.address())
        return fail(ErrorCode::forbidden,
                    "the worker key belongs to provider " + to_checksum(known));
    if (!known.is_zero() && bonded >= wanted) {
        print_registration(output, provider.address(), worker.address(), bonded, true);
        return {};
    }
    const std::uint64_t missing = wanted > bonded ? wanted - bonded : 0;
    TRY_ASSIGN(const auto balance,
               settlement::read_token_balance(*chain, facts.deployment.token, provider.address(),
                                              BlockTag::Name::kLatest));
    if (balance < missing)
        return fail(ErrorCode::insufficient_bond,
                    fmt::format("the bond is {}, the provider {} holds {} tokens", tokens(wanted),
                                to_checksum(provider.address()),
                                ledger::eth::to_decimal(balance / 1'000'000)));
    settlement::LocalTransactionSigner signer(provider);
    if (missing > 0)
        TRY(send_call(*chain, signer, facts.deployment.token,
                      settlement::encode_approve(providers, missing)));
    const auto proof = settlement::sign_worker_proof(worker, facts.deployment.chain_id, providers,
                                                     provider.address());
    if (!known.is_zero()) {
        TRY(send_call(*chain, signer, providers, settlement::encode_add_bond(missing)));
    } else if (bonded > 0) {
        if (missing > 0)
            TRY(send_call(*chain, signer, providers, settlement::encode_add_bond(missing)));
        TRY(send_call(*chain, signer, providers,
                      settlement::encode_add_worker_key(worker.address(), proof)));
    } else {
        TRY(send_call(*chain, signer, providers,
                      settlement::encode_register(worker.address(), proof, missing)));
    }
    print_registration(output, provider.address(), worker.address(), wanted, false);
    return {};
}

Result<void> run_control(const WorkerConfig& config, std::string_view word) {
    const std::filesystem::path file = config.data / "control";
    if (word == "resume") {
        std::error_code error;
        std::filesystem::remove(file, error);
        if (error) return fail(ErrorCode::io_error, "cannot remove " + file.string());
        fmt::print("A running worker takes work again within a second.\n");
        return {};
    }
    TRY(write_file(file, word));
    fmt::print("{}\n", word == "drain"
                           ? "A running worker takes no new work and ends when its work is done."
                           : "A running worker takes no new work. Go on with: millrace-worker "
                             "resume");
    return {};
}

}  // namespace worker::agent

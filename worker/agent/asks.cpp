// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/asks.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/document.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace worker::agent {
namespace {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::parse_fixed;
using ledger::base::Result;
using ledger::base::Signature;
using ledger::base::to_hex;
using ledger::eth::Ask;
using ledger::eth::UnitKind;

struct Offer {
    UnitKind kind = UnitKind::kTrainingStep;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    ledger::eth::OrderClass order_class = ledger::eth::OrderClass::kOnDemand;
};

std::vector<Offer> offers(const WorkerConfig& config) {
    using ledger::eth::OrderClass;
    constexpr std::uint64_t kTokensMax = 1'000'000'000'000;
    std::vector<Offer> out;
    if (config.price_step_atoms > 0)
        out.push_back({UnitKind::kTrainingStep, config.price_step_atoms,
                       ledger::base::limits::kMaxTrainingSteps, OrderClass::kOnDemand});
    if (config.price_input_token_atoms > 0 && config.price_output_token_atoms > 0) {
        out.push_back({UnitKind::kInputToken, config.price_input_token_atoms, kTokensMax,
                       OrderClass::kStanding});
        out.push_back({UnitKind::kOutputToken, config.price_output_token_atoms, kTokensMax,
                       OrderClass::kStanding});
    }
    return out;
}

Hash32 random_salt() {
    const auto bytes = ledger::crypto::random_bytes(Hash32::kSize);
    Hash32 salt;
    std::copy(bytes.begin(), bytes.end(), salt.data());
    return salt;
}

nlohmann::json to_json(const SignedAsk& signed_ask) {
    const Ask& ask = signed_ask.ask;
    return {{"provider", to_hex(ask.provider)},
            {"resource_hash", to_hex(ask.resource_hash)},
            {"unit_kind", std::string(ledger::eth::to_string(ask.unit_kind))},
            {"price", std::to_string(ask.price_atoms)},
            {"min_units", std::to_string(ask.min_units)},
            {"max_units", std::to_string(ask.max_units)},
            {"order_class", std::string(ledger::eth::to_string(ask.order_class))},
            {"reclaim_window", std::to_string(ask.reclaim_window_s)},
            {"earliest", std::to_string(ask.earliest_s)},
            {"expiry", std::to_string(ask.expiry_s)},
            {"volume", std::to_string(ask.volume_units)},
            {"matcher", to_hex(ask.matcher)},
            {"salt", to_hex(ask.salt)},
            {"signature", to_hex(signed_ask.signature)}};
}

template <typename Fixed>
Result<Fixed> fixed_at(const nlohmann::json& object, std::string_view name) {
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(object, name));
    return parse_fixed<Fixed>(text);
}

Result<SignedAsk> parse_ask(const nlohmann::json& object) {
    SignedAsk out;
    Ask& ask = out.ask;
    TRY_ASSIGN(ask.provider, fixed_at<Address>(object, "provider"));
    TRY_ASSIGN(ask.resource_hash, fixed_at<Hash32>(object, "resource_hash"));
    TRY_ASSIGN(const std::string kind, ledger::rpc::string_at(object, "unit_kind"));
    TRY_ASSIGN(ask.unit_kind, ledger::eth::parse_unit_kind(kind));
    TRY_ASSIGN(ask.price_atoms, ledger::rpc::u64_text_at(object, "price"));
    TRY_ASSIGN(ask.min_units, ledger::rpc::u64_text_at(object, "min_units"));
    TRY_ASSIGN(ask.max_units, ledger::rpc::u64_text_at(object, "max_units"));
    TRY_ASSIGN(const std::string order_class, ledger::rpc::string_at(object, "order_class"));
    TRY_ASSIGN(ask.order_class, ledger::eth::parse_order_class(order_class));
    TRY_ASSIGN(const std::uint64_t window, ledger::rpc::u64_text_at(object, "reclaim_window"));
    ask.reclaim_window_s = static_cast<std::uint32_t>(window);
    TRY_ASSIGN(ask.earliest_s, ledger::rpc::u64_text_at(object, "earliest"));
    TRY_ASSIGN(ask.expiry_s, ledger::rpc::u64_text_at(object, "expiry"));
    TRY_ASSIGN(ask.volume_units, ledger::rpc::u64_text_at(object, "volume"));
    TRY_ASSIGN(ask.matcher, fixed_at<Address>(object, "matcher"));
    TRY_ASSIGN(ask.salt, fixed_at<Hash32>(object, "salt"));
    TRY_ASSIGN(out.signature, fixed_at<Signature>(object, "signature"));
    return out;
}

}  // namespace

marketplace::domain::Resource make_resource(const WorkerConfig& config, const Address& worker,
                                            const std::string& runtime) {
    marketplace::domain::Resource resource;
    resource.gpu_model = config.gpu_model;
    resource.gpu_count = config.gpu_count;
    resource.vram_mib = config.vram_mib;
    resource.ram_mib = config.ram_mib;
    resource.cpu_cores = config.cpu_cores;
    resource.region = config.region;
    resource.runtime = runtime;
    resource.max_flops_per_step = config.max_flops_per_step;
    resource.worker = worker;
    return resource;
}

std::vector<SignedAsk> make_asks(const WorkerConfig& config,
                                 const marketplace::domain::Resource& resource,
                                 const ledger::crypto::PrivateKey& provider,
                                 const Address& operator_address,
                                 const ledger::eth::Domain& domain, std::uint64_t now_s) {
    const Hash32 resource_hash =
        marketplace::wire::document_hash(marketplace::wire::resource_document(resource));
    std::vector<SignedAsk> asks;
    for (const Offer& offer : offers(config)) {
        SignedAsk entry;
        entry.ask.provider = provider.address();
        entry.ask.resource_hash = resource_hash;
        entry.ask.unit_kind = offer.kind;
        entry.ask.price_atoms = offer.price_atoms;
        entry.ask.min_units = 1;
        entry.ask.max_units = offer.max_units;
        entry.ask.order_class = offer.order_class;
        entry.ask.earliest_s = now_s - std::min<std::uint64_t>(now_s, 300);  // clocks differ
        entry.ask.expiry_s = now_s + config.ask_hours * 3600;
        entry.ask.volume_units = offer.max_units;
        entry.ask.matcher = operator_address;
        entry.ask.salt = random_salt();
        entry.signature = provider.sign(ledger::eth::digest(domain, entry.ask));
        asks.push_back(entry);
    }
    return asks;
}

bool asks_current(const std::vector<SignedAsk>& asks, const WorkerConfig& config,
                  const marketplace::domain::Resource& resource, const Address& provider,
                  const Address& operator_address, std::uint64_t now_s) {
    const std::vector<Offer> wanted = offers(config);
    if (asks.size() != wanted.size()) return false;
    const Hash32 resource_hash =
        marketplace::wire::document_hash(marketplace::wire::resource_document(resource));
    for (std::size_t i = 0; i < asks.size(); ++i) {
        const Ask& ask = asks[i].ask;
        const bool same = ask.provider == provider && ask.resource_hash == resource_hash &&
                          ask.unit_kind == wanted[i].kind &&
                          ask.price_atoms == wanted[i].price_atoms &&
                          ask.matcher == operator_address;
        if (!same || now_s + config.ask_hours * 900 >= ask.expiry_s) return false;
    }
    return true;
}

std::string to_text(const std::vector<SignedAsk>& asks) {
    nlohmann::json list = nlohmann::json::array();
    for (const SignedAsk& ask : asks) list.push_back(to_json(ask));
    return ledger::rpc::to_text(list);
}

Result<std::vector<SignedAsk>> parse_asks(std::string_view text) {
    TRY_ASSIGN(const nlohmann::json list, ledger::rpc::parse_json(text));
    if (!list.is_array())
        return ledger::base::fail(ledger::base::ErrorCode::invalid_encoding, "no list of asks");
    std::vector<SignedAsk> asks;
    for (const nlohmann::json& entry : list) {
        TRY_ASSIGN(SignedAsk ask, parse_ask(entry));
        asks.push_back(std::move(ask));
    }
    return asks;
}

}  // namespace worker::agent

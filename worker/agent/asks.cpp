// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/asks.hpp"

#include "ledger/base/limits.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/order_json.hpp"

#include <algorithm>
#include <utility>

namespace worker::agent {
namespace {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::Result;
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
    resource.disk_mib = config.disk_mib;
    resource.bandwidth_mbps = config.bandwidth_mbps;
    resource.interconnect = config.interconnect;
    resource.gflop_per_s = config.gflop_per_s;
    resource.memory_mb_per_s = config.memory_mb_per_s;
    // One pinned environment, whose steps repeat bit for bit: what is exact is also within
    // tolerance.
    using marketplace::domain::NumericClass;
    resource.numeric_classes =
        static_cast<std::uint8_t>(marketplace::domain::bit_of(NumericClass::kD1) |
                                  marketplace::domain::bit_of(NumericClass::kD2));
    return resource;
}

std::vector<SignedAsk> make_asks(const WorkerConfig& config,
                                 const marketplace::domain::Resource& resource,
                                 const ledger::crypto::PrivateKey& provider,
                                 const Address& operator_address, const ledger::eth::Domain& domain,
                                 std::uint64_t now_s) {
    const Hash32 resource_hash =
        marketplace::wire::document_hash(marketplace::wire::resource_document(resource));
    std::vector<SignedAsk> asks;
    for (const Offer& offer : offers(config)) {
        SignedAsk entry;
        entry.resource = resource;
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
    std::string text;
    for (const SignedAsk& ask : asks)
        text += marketplace::wire::post_ask_json(ask) + "\n";
    return text;
}

Result<std::vector<SignedAsk>> parse_asks(std::string_view text) {
    std::vector<SignedAsk> asks;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        TRY_ASSIGN(SignedAsk ask, marketplace::wire::parse_post_ask(text.substr(0, end)));
        asks.push_back(std::move(ask));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return asks;
}

}  // namespace worker::agent

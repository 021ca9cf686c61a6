// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/webhook_events.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/siwe.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/webhooks/webhook.hpp"

#include <algorithm>
#include <variant>

namespace marketplace::api {

using ledger::base::to_hex;
using ledger::crypto::to_checksum;
using nlohmann::json;

namespace {

std::string body_of(std::string_view type, domain::TimeMs time_ms, json data) {
    json out;
    out["type"] = std::string(type);
    out["timestamp"] = to_rfc3339(time_ms);
    out["data"] = std::move(data);
    return ledger::rpc::to_text(out);
}

/// Puts one event into words; what nobody is told stays without type.
class Teller {
 public:
    explicit Teller(const engine::Engine& engine) : engine_(engine) {}

    struct Told {
        std::vector<domain::Address> to;
        std::string type;
        json data;
    };

    Told operator()(const domain::JobChanged& event) const {
        return {buyer_of(event.job), "job." + std::string(to_string(event.state)),
                json{{"job", event.job.to_string()},
                     {"state", std::string(to_string(event.state))},
                     {"reason", event.reason},
                     {"units_done", std::to_string(event.units_done)}}};
    }
    Told operator()(const domain::NotMatched& event) const {
        return {buyer_of(event.job), "job.unmatched",
                json{{"job", event.job.to_string()},
                     {"reasons", mismatches_view(event.reasons)},
                     {"text", describe(event.reasons)}}};
    }
    Told operator()(const domain::Matched& event) const {
        return {parties_of(event.lease), "lease.matched",
                json{{"lease", to_hex(event.lease)},
                     {"job", event.job.to_string()},
                     {"ask", to_hex(event.ask_hash)},
                     {"bid", to_hex(event.bid_hash)},
                     {"price", std::to_string(event.price_atoms)},
                     {"max_units", std::to_string(event.max_units)},
                     {"locked", std::to_string(event.locked_atoms)}}};
    }
    Told operator()(const domain::LeaseChanged& event) const {
        return {parties_of(event.lease), "lease." + std::string(to_string(event.state)),
                json{{"lease", to_hex(event.lease)},
                     {"state", std::string(to_string(event.state))},
                     {"reason", std::string(to_string(event.reason))}}};
    }
    Told operator()(const domain::LeaseReclaimed& event) const {
        return {parties_of(event.lease), "lease.reclaimed",
                json{{"lease", to_hex(event.lease)},
                     {"by", event.by.to_string()},
                     {"at_ms", event.at_ms == 0 ? json(nullptr) : json(event.at_ms)}}};
    }
    Told operator()(const domain::ReceiptEquivocated& event) const {
        return {parties_of(event.lease), "lease.equivocated",
                json{{"lease", to_hex(event.lease)},
                     {"sequence", std::to_string(event.sequence)},
                     {"first", to_hex(event.first)},
                     {"other", to_hex(event.other)}}};
    }
    Told operator()(const domain::Paid& event) const {
        return {parties_of(event.lease), "settlement.paid",
                json{{"lease", to_hex(event.lease)},
                     {"paid", std::to_string(event.paid_atoms)},
                     {"fee", std::to_string(event.fee_atoms)}}};
    }
    Told operator()(const domain::AskAccepted& event) const {
        return {provider_of(event.ask), "order.accepted", json{{"order", to_hex(event.ask)}}};
    }
    Told operator()(const domain::AskClosed& event) const {
        return {provider_of(event.ask), "order.closed",
                json{{"order", to_hex(event.ask)}, {"reason", event.reason}}};
    }
    Told operator()(const domain::BalanceChanged& event) const {
        return {{event.account},
                "account.balance",
                json{{"account", to_checksum(event.account)},
                     {"available", std::to_string(event.available_atoms)},
                     {"held", std::to_string(event.held_atoms)},
                     {"earned", std::to_string(event.earned_atoms)}}};
    }
    Told operator()(const domain::WorkerChanged& event) const {
        return {{event.provider},
                event.connected ? "worker.connected" : "worker.disconnected",
                json{{"worker", to_checksum(event.worker)}}};
    }
    // Several a second and lease; `settlement.paid` says what became of them.
    Told operator()(const domain::ReceiptAccepted&) const { return {}; }
    Told operator()(const domain::VoucherAccepted&) const { return {}; }
    // Everybody's, and in the market's stream.
    Told operator()(const domain::BatchCleared&) const { return {}; }

 private:
    [[nodiscard]] std::vector<domain::Address> buyer_of(const domain::JobId& id) const {
        const auto* job = engine_.find_job(id);
        return job == nullptr ? std::vector<domain::Address>() : std::vector{job->buyer};
    }
    [[nodiscard]] std::vector<domain::Address> provider_of(const domain::Hash32& ask) const {
        const auto* entry = engine_.find_ask(ask);
        return entry == nullptr ? std::vector<domain::Address>() : std::vector{entry->ask.provider};
    }
    [[nodiscard]] std::vector<domain::Address> parties_of(const domain::Hash32& id) const {
        const auto* lease = engine_.find_lease(id);
        if (lease == nullptr) return {};
        if (lease->buyer == lease->provider) return {lease->buyer};
        return {lease->buyer, lease->provider};
    }

    const engine::Engine& engine_;
};

}  // namespace

std::vector<WebhookEvent> webhook_events(const engine::Record& record, const engine::Engine& engine,
                                         const WantsEvents& wants) {
    std::vector<WebhookEvent> out;
    const Teller teller(engine);
    for (std::size_t i = 0; i < record.events.size(); ++i) {
        Teller::Told told = std::visit(teller, record.events[i]);
        std::erase_if(told.to, [&](const domain::Address& who) { return !wants(who); });
        if (told.to.empty()) continue;
        told.data["sequence"] = record.sequence;
        out.push_back({i, std::move(told.to), told.type,
                       body_of(told.type, record.time_ms, std::move(told.data))});
    }
    return out;
}

std::string webhook_test_body(const std::string& endpoint, domain::TimeMs now_ms) {
    return body_of(webhooks::kTestType, now_ms, json{{"webhook", endpoint}});
}

}  // namespace marketplace::api

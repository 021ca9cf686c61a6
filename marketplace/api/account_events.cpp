// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/account_events.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/siwe.hpp"
#include "marketplace/api/views.hpp"
#include "marketplace/webhooks/webhook.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <variant>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::to_checksum;
using nlohmann::json;

namespace {

std::string body_text(std::string_view type, domain::TimeMs time_ms, json data) {
    json out;
    out["type"] = std::string(type);
    out["timestamp"] = to_rfc3339(time_ms);
    out["data"] = std::move(data);
    return ledger::rpc::to_text(out);
}

/// Whom an event concerns; nobody where nobody is told.
class Parties {
 public:
    explicit Parties(const engine::Engine& engine) : engine_(engine) {}

    using List = std::vector<domain::Address>;
    List operator()(const domain::JobChanged& event) const { return buyer_of(event.job); }
    List operator()(const domain::NotMatched& event) const { return buyer_of(event.job); }
    List operator()(const domain::AskAccepted& event) const { return provider_of(event.ask); }
    List operator()(const domain::AskClosed& event) const { return provider_of(event.ask); }
    List operator()(const domain::BalanceChanged& event) const { return {event.account}; }
    List operator()(const domain::WorkerChanged& event) const { return {event.provider}; }
    List operator()(const domain::Matched& event) const { return parties_of(event.lease); }
    List operator()(const domain::LeaseChanged& event) const { return parties_of(event.lease); }
    List operator()(const domain::LeaseReclaimed& event) const { return parties_of(event.lease); }
    List operator()(const domain::ReceiptEquivocated& event) const {
        return parties_of(event.lease);
    }
    List operator()(const domain::Paid& event) const { return parties_of(event.lease); }
    // Several a second and lease; `settlement.paid` says what became of them.
    List operator()(const domain::ReceiptAccepted&) const { return {}; }
    List operator()(const domain::VoucherAccepted&) const { return {}; }
    // Everybody's, and in the market's stream.
    List operator()(const domain::BatchCleared&) const { return {}; }

 private:
    [[nodiscard]] List buyer_of(const domain::JobId& id) const {
        const auto* job = engine_.find_job(id);
        return job == nullptr ? List() : List{job->buyer};
    }
    [[nodiscard]] List provider_of(const domain::Hash32& ask) const {
        const auto* entry = engine_.find_ask(ask);
        return entry == nullptr ? List() : List{entry->ask.provider};
    }
    [[nodiscard]] List parties_of(const domain::Hash32& id) const {
        const auto* lease = engine_.find_lease(id);
        if (lease == nullptr) return {};
        if (lease->buyer == lease->provider) return {lease->buyer};
        return {lease->buyer, lease->provider};
    }

    const engine::Engine& engine_;
};

/// By what the engine says around it: a match and a payment come right before what they move, a
/// deposit and a withdrawal are the first that their commands bring.
[[nodiscard]] BalanceCause cause_of(const engine::Record& record, std::size_t index) {
    const auto& events = record.events;
    if (!std::holds_alternative<domain::BalanceChanged>(events[index])) return BalanceCause::kNone;
    if (index == 0 && std::holds_alternative<domain::EscrowDeposited>(record.command))
        return BalanceCause::kDeposit;
    if (index == 0 && std::holds_alternative<domain::EscrowWithdrawn>(record.command))
        return BalanceCause::kWithdrawal;
    if (index == 0) return BalanceCause::kRefund;
    if (std::holds_alternative<domain::Paid>(events[index - 1])) return BalanceCause::kCharge;
    if (index > 1 && std::holds_alternative<domain::BalanceChanged>(events[index - 1]) &&
        std::holds_alternative<domain::Paid>(events[index - 2]))
        return BalanceCause::kEarning;
    const auto* job = std::get_if<domain::JobChanged>(&events[index - 1]);
    return job != nullptr && job->state == domain::JobState::kMatched ? BalanceCause::kHold
                                                                      : BalanceCause::kRefund;
}

/// An event in words: its kind, and the `data` of its body. What nobody is told has no kind.
class Teller {
 public:
    explicit Teller(BalanceCause cause) : cause_(cause) {}

    struct Told {
        std::string type;
        json data;
    };

    Told operator()(const domain::JobChanged& event) const {
        return {"job." + std::string(to_string(event.state)),
                json{{"job", event.job.to_string()},
                     {"state", std::string(to_string(event.state))},
                     {"reason", event.reason},
                     {"units_done", std::to_string(event.units_done)}}};
    }
    Told operator()(const domain::NotMatched& event) const {
        return {"job.unmatched", json{{"job", event.job.to_string()},
                                      {"reasons", mismatches_view(event.reasons)},
                                      {"text", describe(event.reasons)}}};
    }
    Told operator()(const domain::Matched& event) const {
        return {"lease.matched", json{{"lease", to_hex(event.lease)},
                                      {"job", event.job.to_string()},
                                      {"ask", to_hex(event.ask_hash)},
                                      {"bid", to_hex(event.bid_hash)},
                                      {"price", std::to_string(event.price_atoms)},
                                      {"max_units", std::to_string(event.max_units)},
                                      {"locked", std::to_string(event.locked_atoms)}}};
    }
    Told operator()(const domain::LeaseChanged& event) const {
        return {"lease." + std::string(to_string(event.state)),
                json{{"lease", to_hex(event.lease)},
                     {"state", std::string(to_string(event.state))},
                     {"reason", std::string(to_string(event.reason))}}};
    }
    Told operator()(const domain::LeaseReclaimed& event) const {
        return {"lease.reclaimed",
                json{{"lease", to_hex(event.lease)},
                     {"by", event.by.to_string()},
                     {"at_ms", event.at_ms == 0 ? json(nullptr) : json(event.at_ms)}}};
    }
    Told operator()(const domain::ReceiptEquivocated& event) const {
        return {"lease.equivocated", json{{"lease", to_hex(event.lease)},
                                          {"sequence", std::to_string(event.sequence)},
                                          {"first", to_hex(event.first)},
                                          {"other", to_hex(event.other)}}};
    }
    Told operator()(const domain::Paid& event) const {
        return {"settlement.paid", json{{"lease", to_hex(event.lease)},
                                        {"paid", std::to_string(event.paid_atoms)},
                                        {"fee", std::to_string(event.fee_atoms)}}};
    }
    Told operator()(const domain::AskAccepted& event) const {
        return {"order.accepted", json{{"order", to_hex(event.ask)}}};
    }
    Told operator()(const domain::AskClosed& event) const {
        return {"order.closed", json{{"order", to_hex(event.ask)}, {"reason", event.reason}}};
    }
    Told operator()(const domain::BalanceChanged& event) const {
        return {"account.balance", json{{"account", to_checksum(event.account)},
                                        {"cause", std::string(to_string(cause_))},
                                        {"available", std::to_string(event.available_atoms)},
                                        {"held", std::to_string(event.held_atoms)},
                                        {"earned", std::to_string(event.earned_atoms)}}};
    }
    Told operator()(const domain::WorkerChanged& event) const {
        return {event.connected ? "worker.connected" : "worker.disconnected",
                json{{"worker", to_checksum(event.worker)}}};
    }
    Told operator()(const domain::ReceiptAccepted&) const { return {}; }
    Told operator()(const domain::VoucherAccepted&) const { return {}; }
    Told operator()(const domain::BatchCleared&) const { return {}; }

 private:
    BalanceCause cause_;
};

constexpr std::uint32_t kBehindAll = std::numeric_limits<std::uint32_t>::max();

}  // namespace

EventPlace end_of_record(std::uint64_t sequence) noexcept {
    return {sequence, kBehindAll};
}

std::string to_string(const EventPlace& place) {
    return place.index == kBehindAll ? std::to_string(place.sequence)
                                     : fmt::format("{}-{}", place.sequence, place.index);
}

Result<EventPlace> parse_event_place(std::string_view text) {
    const auto wrong = [] {
        return fail(ErrorCode::invalid_field, "the last event's id is RECORD or RECORD-INDEX");
    };
    const auto dash = text.find('-');
    const auto sequence = ledger::base::parse_u64(text.substr(0, dash));
    if (!sequence) return wrong();
    if (dash == std::string_view::npos) return end_of_record(*sequence);
    const auto index = ledger::base::parse_u64(text.substr(dash + 1));
    if (!index || *index >= kBehindAll) return wrong();
    return EventPlace{*sequence, static_cast<std::uint32_t>(*index)};
}

std::string_view to_string(BalanceCause cause) noexcept {
    constexpr std::array<std::string_view, 7> kNames = {"",       "deposit", "withdrawal", "hold",
                                                        "charge", "earning", "refund"};
    return kNames.at(static_cast<std::size_t>(cause));
}

std::vector<AccountEvent> account_events(const engine::Record& record,
                                         const engine::Engine& engine) {
    std::vector<AccountEvent> out;
    const Parties parties(engine);
    for (std::size_t i = 0; i < record.events.size(); ++i) {
        const Parties::List to = std::visit(parties, record.events[i]);
        if (to.empty()) continue;
        AccountEvent event;
        event.place = {record.sequence, static_cast<std::uint32_t>(i)};
        event.time_ms = record.time_ms;
        event.cause = cause_of(record, i);
        event.party_count = static_cast<std::uint8_t>(to.size());
        std::copy(to.begin(), to.end(), event.parties.begin());
        event.event = record.events[i];
        out.push_back(std::move(event));
    }
    return out;
}

EventText text_of(const AccountEvent& event) {
    Teller::Told told = std::visit(Teller(event.cause), event.event);
    told.data["sequence"] = event.place.sequence;
    std::string body = body_text(told.type, event.time_ms, std::move(told.data));
    return {std::move(told.type), std::move(body)};
}

std::string webhook_test_body(const std::string& endpoint, domain::TimeMs now_ms) {
    return body_text(webhooks::kTestType, now_ms, json{{"webhook", endpoint}});
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/engine/engine.hpp"
#include "marketplace/engine/journal.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// What the journal means to the accounts it concerns: webhooks are called with it and the
/// account's stream carries it, in the same words.
namespace marketplace::api {

using ledger::base::Result;

/// Which event: the record of the journal, and its number in it.
struct EventPlace {
    std::uint64_t sequence = 0;
    std::uint32_t index = 0;
    friend auto operator<=>(const EventPlace&, const EventPlace&) = default;
};
/// The place behind everything of a record.
[[nodiscard]] EventPlace end_of_record(std::uint64_t sequence) noexcept;
/// "7-2"; "7" for the end of a record.
[[nodiscard]] std::string to_string(const EventPlace& place);
/// invalid_field when it is neither.
[[nodiscard]] Result<EventPlace> parse_event_place(std::string_view text);

/// Why a balance moved.
enum class BalanceCause : std::uint8_t {
    kNone = 0,  ///< the event is of another kind
    kDeposit,
    kWithdrawal,
    kHold,     ///< a match set money aside
    kCharge,   ///< the buyer's: what was held was paid
    kEarning,  ///< the provider's share of a payment
    kRefund,   ///< what was held came back
};
[[nodiscard]] std::string_view to_string(BalanceCause cause) noexcept;  ///< "deposit", …

/// An event that concerns one account or two.
struct AccountEvent {
    EventPlace place;
    domain::TimeMs time_ms = 0;
    BalanceCause cause = BalanceCause::kNone;
    std::array<domain::Address, 2> parties;
    std::uint8_t party_count = 0;
    domain::Event event;

    [[nodiscard]] std::span<const domain::Address> to() const {
        return std::span(parties).first(party_count);
    }
    friend bool operator==(const AccountEvent&, const AccountEvent&) = default;
};

/// What a record brings about for anybody. Who is concerned, the engine knows: buyer and provider
/// of a lease, the buyer of a job, the provider of an ask. On the engine's thread; no text is made.
[[nodiscard]] std::vector<AccountEvent> account_events(const engine::Record& record,
                                                       const engine::Engine& engine);

/// An event in words.
struct EventText {
    std::string type;  ///< one of webhooks::kEventTypes
    std::string body;  ///< {"type","timestamp","data"}, as Standard Webhooks has it
};
[[nodiscard]] EventText text_of(const AccountEvent& event);

/// The body of a test event.
[[nodiscard]] std::string webhook_test_body(const std::string& endpoint, domain::TimeMs now_ms);

}  // namespace marketplace::api

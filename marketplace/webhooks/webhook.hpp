// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "marketplace/domain/resource.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Webhooks after the Standard Webhooks specification: who is told what, signed how, again when.
/// Pure: no clock, network, database or thread.
namespace marketplace::webhooks {

using domain::TimeMs;
using ledger::base::Bytes;
using ledger::base::ByteView;
using ledger::base::Result;

inline constexpr std::size_t kEndpointsPerAccount = 10;
inline constexpr std::size_t kEndpoints = 10'000;
inline constexpr std::size_t kPendingPerEndpoint = 1000;
inline constexpr std::size_t kPendingTests = 10;           ///< of one endpoint
inline constexpr std::size_t kFinishedPerEndpoint = 1000;  ///< kept in the delivery log
inline constexpr std::size_t kPatternsPerEndpoint = 32;
inline constexpr TimeMs kDayMs = 86'400'000;
inline constexpr TimeMs kOldSecretMs = kDayMs;         ///< a rotated secret signs on so long
inline constexpr TimeMs kDisableAfterMs = 5 * kDayMs;  ///< of failures without one success
inline constexpr TimeMs kLogMs = 30 * kDayMs;          ///< finished deliveries are kept so long

/// Every kind of event there is.
inline constexpr std::array<std::string_view, 23> kEventTypes = {
    "job.open",          "job.unmatched",    "job.matched",        "job.assigned",
    "job.running",       "job.completed",    "job.failed",         "job.cancelled",
    "job.expired",       "lease.matched",    "lease.open",         "lease.running",
    "lease.closing",     "lease.closed",     "lease.open_failed",  "lease.reclaimed",
    "lease.equivocated", "settlement.paid",  "order.accepted",     "order.closed",
    "account.balance",   "worker.connected", "worker.disconnected"};
/// What "send a test event" sends; goes to every endpoint whatever it subscribed to.
inline constexpr std::string_view kTestType = "webhook.test";

/// Why an endpoint gets nothing any more.
enum class Disabled : std::uint8_t {
    kNo = 0,
    kPaused = 1,   ///< by its owner
    kFailing = 2,  ///< nothing arrived for kDisableAfterMs
    kGone = 3,     ///< it answered 410
    kBacklog = 4,  ///< more than kPendingPerEndpoint waited
};
[[nodiscard]] std::string_view to_string(Disabled reason) noexcept;  ///< "", "paused", …

/// A URL that wants to hear of its owner's affairs.
struct Endpoint {
    std::string id;  ///< "whk_…"
    domain::Address owner;
    std::string url;
    std::vector<std::string> events;  ///< patterns: "*", "job.*", "job.completed"
    Bytes secret;
    Bytes old_secret;  ///< signs besides until `old_secret_until_ms`
    TimeMs old_secret_until_ms = 0;
    Disabled disabled = Disabled::kNo;
    TimeMs created_ms = 0;
    TimeMs failing_since_ms = 0;      ///< 0: the last attempt arrived, or there was none
    std::uint64_t from_sequence = 0;  ///< the first record of the journal it hears of
    friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

enum class DeliveryState : std::uint8_t { kPending = 0, kDelivered = 1, kFailed = 2 };
[[nodiscard]] std::string_view to_string(DeliveryState state) noexcept;

/// Why an attempt did not arrive; part of the API.
enum class Failure : std::uint8_t {
    kNone = 0,
    kStatus = 1,          ///< the answer was not 2xx
    kRedirect = 2,        ///< 3xx: not followed
    kPrivateAddress = 3,  ///< the name stands for addresses that must not be called
    kUnreachable = 4,     ///< unknown name, refused, closed early
    kTimeout = 5,
    kTls = 6,  ///< the certificate or the handshake
    kBadAnswer = 7,
    kDisabled = 8,  ///< the endpoint was disabled meanwhile
};
[[nodiscard]] std::string_view to_string(Failure failure) noexcept;

/// One event on its way to one endpoint. Its id is the same at every attempt, also after a restart
/// and when it is asked for again, so that a receiver can tell what it has seen.
struct Delivery {
    std::string id;        ///< "msg_…", the header webhook-id
    std::string endpoint;  ///< its id
    std::string type;
    std::string body;
    TimeMs created_ms = 0;
    DeliveryState state = DeliveryState::kPending;
    std::uint32_t attempts = 0;
    TimeMs next_attempt_ms = 0;  ///< while pending
    TimeMs last_attempt_ms = 0;
    std::uint32_t last_status = 0;  ///< HTTP status of the last attempt; 0: no answer
    Failure last_failure = Failure::kNone;
    friend bool operator==(const Delivery&, const Delivery&) = default;
};

/// Whether one of the patterns covers the type.
[[nodiscard]] bool is_wanted(const std::vector<std::string>& patterns, std::string_view type);
/// Each pattern must cover some type of event. invalid_field, out_of_range, missing_field.
[[nodiscard]] Result<void> check_patterns(const std::vector<std::string>& patterns);

/// The id of the event at `index` of the journal's record `sequence`, for one endpoint.
[[nodiscard]] std::string message_id(const std::string& endpoint, std::uint64_t sequence,
                                     std::size_t index);

}  // namespace marketplace::webhooks

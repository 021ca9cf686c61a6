// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/webhook.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace marketplace::webhooks {

using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::size_t kPatternBytesMax = 64;
constexpr std::size_t kIdDigits = 32;

/// "*" covers everything, "job.*" what begins with "job.".
bool covers(std::string_view pattern, std::string_view type) {
    if (pattern == "*" || pattern == type) return true;
    return pattern.ends_with(".*") && type.starts_with(pattern.substr(0, pattern.size() - 1));
}

}  // namespace

std::string_view to_string(Disabled reason) noexcept {
    constexpr std::array<std::string_view, 5> kNames = {"", "paused", "failing", "gone", "backlog"};
    return kNames.at(static_cast<std::size_t>(reason));
}

std::string_view to_string(DeliveryState state) noexcept {
    constexpr std::array<std::string_view, 3> kNames = {"pending", "delivered", "failed"};
    return kNames.at(static_cast<std::size_t>(state));
}

std::string_view to_string(Failure failure) noexcept {
    constexpr std::array<std::string_view, 9> kNames = {
        "",        "status", "redirect",   "private_address",  "unreachable",
        "timeout", "tls",    "bad_answer", "endpoint_disabled"};
    return kNames.at(static_cast<std::size_t>(failure));
}

bool is_wanted(const std::vector<std::string>& patterns, std::string_view type) {
    return std::any_of(patterns.begin(), patterns.end(),
                       [&](const std::string& pattern) { return covers(pattern, type); });
}

Result<void> check_patterns(const std::vector<std::string>& patterns) {
    if (patterns.empty()) return fail(ErrorCode::missing_field, "/events: name at least one");
    if (patterns.size() > kPatternsPerEndpoint)
        return fail(ErrorCode::out_of_range,
                    fmt::format("/events: {} at most", kPatternsPerEndpoint));
    for (const std::string& pattern : patterns) {
        const bool known = pattern.size() <= kPatternBytesMax &&
                           std::any_of(kEventTypes.begin(), kEventTypes.end(),
                                       [&](auto type) { return covers(pattern, type); });
        if (!known)
            return fail(ErrorCode::invalid_field, fmt::format("/events: {} is no kind of event",
                                                              pattern.substr(0, kPatternBytesMax)));
    }
    return {};
}

std::string message_id(const std::string& endpoint, std::uint64_t sequence, std::size_t index) {
    const auto hash = ledger::base::sha256(
        ledger::base::as_bytes(fmt::format("{}/{}/{}", endpoint, sequence, index)));
    return "msg_" + ledger::base::to_hex(hash).substr(2, kIdDigits);
}

}  // namespace marketplace::webhooks

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/live_key.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::array<std::pair<std::string_view, std::uint32_t>, 6> kScopes = {{
    {"inference", kScopeInference},
    {"files", kScopeFiles},
    {"jobs", kScopeJobs},
    {"orders", kScopeOrders},
    {"models", kScopeModels},
    {"account", kScopeAccount},
}};

}  // namespace

std::vector<std::string> scope_names(std::uint32_t scopes) {
    std::vector<std::string> out;
    for (const auto& [name, bit] : kScopes)
        if ((scopes & bit) != 0) out.emplace_back(name);
    return out;
}

std::optional<std::uint32_t> scope_of(std::string_view name) {
    for (const auto& [known, bit] : kScopes)
        if (name == known) return bit;
    return std::nullopt;
}

Result<void> LiveKey::check(std::uint32_t scope, domain::TimeMs now_ms) const {
    if (revoked_.load()) return fail(ErrorCode::unauthorized, "this API key was revoked");
    if (has_expired(now_ms)) return fail(ErrorCode::unauthorized, "this API key has expired");
    if ((row_.scopes & scope) != scope) {
        const auto names = scope_names(scope);
        return fail(ErrorCode::forbidden, "this API key lacks the scope \"" +
                                              (names.empty() ? "" : names.front()) +
                                              "\"; make one that has it");
    }
    return {};
}

TokenBucket* LiveKey::bucket(domain::TimeMs now_ms) {
    if (row_.requests_per_minute == 0) return nullptr;
    if (!bucket_) bucket_.emplace(rate(), now_ms);
    return &*bucket_;
}

std::optional<RateState> LiveKey::take_request(domain::TimeMs now_ms) {
    const std::lock_guard lock(mutex_);
    TokenBucket* own = bucket(now_ms);
    return own == nullptr ? std::nullopt : std::optional(own->take(rate(), now_ms));
}

std::optional<RateState> LiveKey::look_at_rate(domain::TimeMs now_ms) {
    const std::lock_guard lock(mutex_);
    TokenBucket* own = bucket(now_ms);
    return own == nullptr ? std::nullopt : std::optional(own->look(rate(), now_ms));
}

std::uint64_t LiveKey::hold(std::uint64_t atoms) {
    const std::lock_guard lock(mutex_);
    if (!row_.spend_cap_atoms) return atoms;
    const std::uint64_t used = spent_ + held_;
    const std::uint64_t left = *row_.spend_cap_atoms - std::min(*row_.spend_cap_atoms, used);
    const std::uint64_t granted = std::min(atoms, left);
    held_ += granted;
    return granted;
}

void LiveKey::settle(std::uint64_t held_atoms, std::uint64_t paid_atoms) {
    const std::lock_guard lock(mutex_);
    held_ -= std::min(held_, held_atoms);
    // The database counts in 63 bits.
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    const std::uint64_t paid = std::min(paid_atoms, kMost - std::min(kMost, spent_));
    spent_ += paid;
    unsaved_ += paid;
}

std::uint64_t LiveKey::spent_atoms() const {
    const std::lock_guard lock(mutex_);
    return spent_;
}

std::uint64_t LiveKey::take_unsaved() {
    const std::lock_guard lock(mutex_);
    return std::exchange(unsaved_, 0);
}

void LiveKey::unsave(std::uint64_t atoms) {
    const std::lock_guard lock(mutex_);
    unsaved_ += atoms;
}

bool LiveKey::is_saved() const {
    const std::lock_guard lock(mutex_);
    return unsaved_ == 0;
}

void LiveKey::revoke() {
    std::map<std::uint64_t, std::function<void()>> listeners;
    {
        const std::lock_guard lock(mutex_);
        revoked_ = true;
        listeners.swap(listeners_);
    }
    for (const auto& [id, on_end] : listeners)
        on_end();
}

std::uint64_t LiveKey::listen(std::function<void()> on_end) {
    {
        const std::lock_guard lock(mutex_);
        if (!revoked_.load()) {
            listeners_.emplace(next_listener_, std::move(on_end));
            return next_listener_++;
        }
    }
    on_end();
    return 0;
}

void LiveKey::unlisten(std::uint64_t listener) {
    const std::lock_guard lock(mutex_);
    listeners_.erase(listener);
}

bool LiveKey::take_turn(domain::TimeMs now_ms, domain::TimeMs every_ms) {
    domain::TimeMs last = asked_ms_.load();
    return now_ms >= last + every_ms && asked_ms_.compare_exchange_strong(last, now_ms);
}

}  // namespace marketplace::api

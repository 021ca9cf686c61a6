// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/schedule.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>

namespace marketplace::webhooks {
namespace {

constexpr std::size_t kCallsPerAccount = 2;

}  // namespace

void Schedule::set_due(const std::string& endpoint, Entry& entry, std::optional<TimeMs> due_ms) {
    if (entry.due_ms && !entry.under_way) due_.erase({*entry.due_ms, endpoint});
    entry.due_ms = due_ms;
    if (entry.due_ms && !entry.under_way) due_.insert({*entry.due_ms, endpoint});
}

void Schedule::add(const std::string& endpoint, const domain::Address& owner, TimeMs due_ms) {
    Entry& entry = entries_[endpoint];
    entry.owner = owner;
    entry.removed = false;
    set_due(endpoint, entry, std::min(due_ms, entry.due_ms.value_or(due_ms)));
}

void Schedule::remove(const std::string& endpoint) {
    const auto found = entries_.find(endpoint);
    if (found == entries_.end()) return;
    set_due(endpoint, found->second, std::nullopt);
    found->second.removed = true;
    if (!found->second.under_way) entries_.erase(found);
}

bool Schedule::may_start(const Entry& entry) const {
    const auto owner = owners_under_way_.find(entry.owner);
    if (owner != owners_under_way_.end() && owner->second >= kCallsPerAccount) return false;
    return !entry.slow || slow_under_way_ < std::max<std::size_t>(1, senders_ / 2);
}

std::optional<std::string> Schedule::take(TimeMs now_ms) {
    if (under_way_ >= senders_) return std::nullopt;
    for (auto at = due_.begin(); at != due_.end() && at->first <= now_ms; ++at) {
        Entry& entry = entries_.at(at->second);
        if (!may_start(entry)) continue;
        const std::string endpoint = at->second;
        due_.erase(at);
        entry.due_ms.reset();
        entry.under_way = true;
        entry.in_slow = entry.slow;
        ++under_way_;
        ++owners_under_way_[entry.owner];
        slow_under_way_ += entry.in_slow ? 1 : 0;
        return endpoint;
    }
    return std::nullopt;
}

std::optional<TimeMs> Schedule::next_due_ms() const {
    return due_.empty() ? std::nullopt : std::optional(due_.begin()->first);
}

void Schedule::done(const std::string& endpoint, Speed speed, std::optional<TimeMs> due_ms) {
    const auto found = entries_.find(endpoint);
    MR_CHECK(found != entries_.end() && found->second.under_way);
    Entry& entry = found->second;
    --under_way_;
    slow_under_way_ -= entry.in_slow ? 1 : 0;
    const auto owner = owners_under_way_.find(entry.owner);
    if (--owner->second == 0) owners_under_way_.erase(owner);
    entry.under_way = false;
    entry.slow = speed == Speed::kSlow;
    if (entry.removed) {
        entries_.erase(found);
        return;
    }
    // What was added meanwhile counts, too.
    const std::optional<TimeMs> added = entry.due_ms;
    entry.due_ms.reset();
    if (added && due_ms) due_ms = std::min(*added, *due_ms);
    set_due(endpoint, entry, due_ms ? due_ms : added);
}

}  // namespace marketplace::webhooks

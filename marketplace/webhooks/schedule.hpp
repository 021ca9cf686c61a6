// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/webhooks/webhook.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>

namespace marketplace::webhooks {

/// Which endpoint is called next, when `senders` calls may be under way at a time. Each endpoint
/// has at most one, so that its events stay in order; an account at most two; and endpoints whose
/// last call failed or was slow share half of the senders, so that dead or hostile receivers never
/// hold up the others. Not thread-safe.
class Schedule {
 public:
    explicit Schedule(std::size_t senders) : senders_(senders) {}

    /// The endpoint's first delivery is due at `due_ms`; an earlier time known before stays.
    void add(const std::string& endpoint, const domain::Address& owner, TimeMs due_ms);
    /// Forgets an endpoint; a call under way still ends with `done`.
    void remove(const std::string& endpoint);

    /// An endpoint that is due and may be called now; it counts as under way until `done`.
    [[nodiscard]] std::optional<std::string> take(TimeMs now_ms);
    /// When `take` may have something next because time passed; empty: nothing waits for time.
    [[nodiscard]] std::optional<TimeMs> next_due_ms() const;

    enum class Speed : std::uint8_t { kGood, kSlow };
    /// The call ended. `due_ms`: when its next delivery is due; empty: it has none.
    void done(const std::string& endpoint, Speed speed, std::optional<TimeMs> due_ms);

 private:
    struct Entry {
        domain::Address owner;
        std::optional<TimeMs> due_ms;
        bool under_way = false;
        bool slow = false;     ///< its last call
        bool in_slow = false;  ///< the call under way counts as slow
        bool removed = false;
    };
    void set_due(const std::string& endpoint, Entry& entry, std::optional<TimeMs> due_ms);
    [[nodiscard]] bool may_start(const Entry& entry) const;

    const std::size_t senders_;
    std::unordered_map<std::string, Entry> entries_;
    std::set<std::pair<TimeMs, std::string>> due_;  ///< endpoints with no call under way
    std::unordered_map<domain::Address, std::size_t> owners_under_way_;
    std::size_t under_way_ = 0;
    std::size_t slow_under_way_ = 0;
};

}  // namespace marketplace::webhooks

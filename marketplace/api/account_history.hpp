// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/account_events.hpp"

#include <atomic>
#include <deque>
#include <shared_mutex>
#include <unordered_map>

namespace marketplace::api {

/// The newest events of all accounts, for streams that begin and streams that go on. Bounded: the
/// oldest go first, whosever they are. Thread-safe; one thread adds.
class AccountHistory {
 public:
    static constexpr std::size_t kEventsKept = 32'768;

    explicit AccountHistory(std::size_t events_kept = kEventsKept) : kept_(events_kept) {}

    /// The first record that will be added; before anything is. What came earlier is not kept.
    void begin_at(std::uint64_t first_record);
    /// Records in order, each once. On the engine's thread, with the engine right after.
    void add(const engine::Record& record, const engine::Engine& engine);

    /// Behind the last record; empty before the first. Without a lock: for those who look often.
    [[nodiscard]] std::optional<EventPlace> end() const noexcept;

    struct Page {
        std::vector<AccountEvent> events;   ///< oldest first
        std::optional<EventPlace> through;  ///< nothing before it is left to read
    };
    /// Up to `limit` events of an account behind a place (empty: before the first record). Empty
    /// when some of what came behind it is no longer kept, or nothing has come that far.
    [[nodiscard]] std::optional<Page> after(const domain::Address& account,
                                            const std::optional<EventPlace>& place,
                                            std::size_t limit) const;

 private:
    void drop_oldest();  // with mutex_ held

    const std::size_t kept_;
    mutable std::shared_mutex mutex_;
    std::deque<AccountEvent> events_;
    std::uint64_t first_number_ = 0;  ///< of the front of `events_`; they are counted through
    std::unordered_map<domain::Address, std::deque<std::uint64_t>> numbers_;  ///< of each account's
    std::optional<EventPlace> dropped_;   ///< the newest that is not kept
    std::atomic<std::uint64_t> size_{0};  ///< records seen: one more than the last sequence
};

}  // namespace marketplace::api

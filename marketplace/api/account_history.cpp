// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/account_history.hpp"

#include <algorithm>
#include <mutex>

namespace marketplace::api {

void AccountHistory::begin_at(std::uint64_t first_record) {
    const std::unique_lock lock(mutex_);
    if (first_record > 0) dropped_ = end_of_record(first_record - 1);
    size_.store(first_record, std::memory_order_release);
}

void AccountHistory::add(const engine::Record& record, const engine::Engine& engine) {
    std::vector<AccountEvent> fresh = account_events(record, engine);
    const std::unique_lock lock(mutex_);
    for (AccountEvent& event : fresh) {
        if (events_.size() == kept_) drop_oldest();
        const std::uint64_t number = first_number_ + events_.size();
        for (const domain::Address& account : event.to())
            numbers_[account].push_back(number);
        events_.push_back(std::move(event));
    }
    size_.store(record.sequence + 1, std::memory_order_release);
}

void AccountHistory::drop_oldest() {
    const AccountEvent& oldest = events_.front();
    for (const domain::Address& account : oldest.to()) {
        const auto found = numbers_.find(account);
        found->second.pop_front();
        if (found->second.empty()) numbers_.erase(found);
    }
    dropped_ = oldest.place;
    events_.pop_front();
    ++first_number_;
}

std::optional<EventPlace> AccountHistory::end() const noexcept {
    const std::uint64_t size = size_.load(std::memory_order_acquire);
    return size == 0 ? std::nullopt : std::optional(end_of_record(size - 1));
}

std::optional<AccountHistory::Page> AccountHistory::after(const domain::Address& account,
                                                          const std::optional<EventPlace>& place,
                                                          std::size_t limit) const {
    const std::shared_lock lock(mutex_);
    Page page{{}, end()};
    // No place is less than every place.
    if (place > page.through || place < dropped_) return std::nullopt;
    const auto mine = numbers_.find(account);
    if (mine == numbers_.end()) return page;
    const auto event_at = [this](std::uint64_t number) -> const AccountEvent& {
        return events_[number - first_number_];
    };
    auto at = std::upper_bound(mine->second.begin(), mine->second.end(), place,
                               [&](const std::optional<EventPlace>& seen, std::uint64_t number) {
                                   return seen < event_at(number).place;
                               });
    for (; at != mine->second.end() && page.events.size() < limit; ++at)
        page.events.push_back(event_at(*at));
    if (at != mine->second.end()) page.through = page.events.back().place;
    return page;
}

}  // namespace marketplace::api

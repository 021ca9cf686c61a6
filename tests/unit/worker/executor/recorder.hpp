// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/executor.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

namespace worker::executor {

/// Keeps a job's events and waits for them.
class Recorder {
 public:
    [[nodiscard]] EventSink sink() {
        return [this](const JobEvent& event) {
            const std::lock_guard lock(mutex_);
            events_.push_back(event);
            changed_.notify_all();
        };
    }
    [[nodiscard]] std::vector<JobEvent> events() {
        const std::lock_guard lock(mutex_);
        return events_;
    }
    template <typename Event>
    [[nodiscard]] std::vector<Event> all() {
        const std::lock_guard lock(mutex_);
        return locked_all<Event>();
    }
    [[nodiscard]] std::optional<ledger::base::Error> failure() {
        const auto found = all<Failed>();
        if (found.empty()) return std::nullopt;
        return found.back().error;
    }
    void clear() {
        const std::lock_guard lock(mutex_);
        events_.clear();
    }
    template <typename Event>
    void wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        REQUIRE(changed_.wait_for(lock, kLimit,
                                  [&] { return locked_all<Event>().size() >= count || ended(); }));
        REQUIRE(locked_all<Event>().size() >= count);
    }
    void wait_end() {
        std::unique_lock lock(mutex_);
        REQUIRE(changed_.wait_for(lock, kLimit, [&] { return ended(); }));
    }
    /// Waits until nothing has come for half a second; returns how much there is.
    std::size_t wait_quiet() {
        std::unique_lock lock(mutex_);
        std::size_t seen = events_.size();
        while (changed_.wait_for(lock, std::chrono::milliseconds(500),
                                 [&] { return events_.size() != seen; }))
            seen = events_.size();
        return seen;
    }

 private:
    static constexpr std::chrono::seconds kLimit{120};

    template <typename Event>
    std::vector<Event> locked_all() const {
        std::vector<Event> out;
        for (const JobEvent& event : events_)
            if (const auto* found = std::get_if<Event>(&event)) out.push_back(*found);
        return out;
    }
    bool ended() const {
        return !events_.empty() && (std::holds_alternative<Failed>(events_.back()) ||
                                    std::holds_alternative<Finished>(events_.back()));
    }

    std::mutex mutex_;
    std::condition_variable changed_;
    std::vector<JobEvent> events_;
};

}  // namespace worker::executor

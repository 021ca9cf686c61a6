// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/ports.hpp"
#include "marketplace/engine/journal.hpp"

#include <mutex>
#include <shared_mutex>

namespace marketplace::app {

/// Market data over the journal's records that are on disk. Thread-safe.
class MarketFeed final : public api::MarketDataPort {
 public:
    /// Begins with what a snapshot has.
    void restore(engine::MarketData data) {
        const std::unique_lock lock(mutex_);
        data_ = std::move(data);
    }
    /// Records in order, each once: first those of the journal, then what the engine's thread adds.
    void add(const engine::Record& record) {
        const std::unique_lock lock(mutex_);
        data_.add(record);
    }
    void read(const std::function<void(const engine::MarketData&)>& use) const override {
        const std::shared_lock lock(mutex_);
        use(data_);
    }

 private:
    mutable std::shared_mutex mutex_;
    engine::MarketData data_;
};

}  // namespace marketplace::app

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"
#include "marketplace/http/router.hpp"

#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace marketplace::api {

/// Answers to requests with an Idempotency-Key: the first success is kept for a day and given
/// again; another body under the key is refused (422), a repetition while the first runs too
/// (409). Failures are not kept. In memory and bounded: the natural ids of orders and jobs guard
/// what is older. Thread-safe.
class IdempotencyCache {
 public:
    static constexpr std::size_t kKeyBytesMax = 255;
    static constexpr std::size_t kEntriesMax = 20'000;
    static constexpr std::size_t kBytesMax = 64 * 1024 * 1024;
    static constexpr ledger::base::TimeMs kKeepMs = 24ULL * 60 * 60 * 1000;

    explicit IdempotencyCache(const ledger::base::Clock& clock) : clock_(clock) {}

    /// Wraps a handler. `principal` keeps callers apart.
    [[nodiscard]] http::Handler wrap(http::Handler handler);

 private:
    struct Entry {
        ledger::base::Hash32 fingerprint;
        bool done = false;
        http::Response response;
        ledger::base::TimeMs until_ms = 0;
    };
    class Recorder;
    void keep(const std::string& key, const http::Response& response);
    void trim(ledger::base::TimeMs now_ms);  // with mutex_ held

    const ledger::base::Clock& clock_;
    std::mutex mutex_;
    std::unordered_map<std::string, Entry> entries_;
    std::deque<std::string> order_;
    std::size_t bytes_ = 0;
};

}  // namespace marketplace::api

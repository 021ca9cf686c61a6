// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/api/rate_limiter.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::api {

/// What an API key may be used for; a session may do everything.
enum KeyScope : std::uint32_t {
    kScopeInference = 1,  ///< completions, embeddings
    kScopeFiles = 2,      ///< files and blobs
    kScopeJobs = 4,       ///< the owner's jobs and fine-tunings: specs, keys, cancelling
    kScopeOrders = 8,     ///< taking asks off the book
    kScopeModels = 16,    ///< publishing models
    kScopeAccount = 32,   ///< everything else, but for API keys themselves
    kScopeEverything = 63,
};

/// "inference", "files", …
[[nodiscard]] std::vector<std::string> scope_names(std::uint32_t scopes);
/// The bit of a name; empty when there is none of that name.
[[nodiscard]] std::optional<std::uint32_t> scope_of(std::string_view name);

/// An API key in use: one per key and process, so that its requests share what is left of its cap
/// and all hear of its end. Thread-safe.
class LiveKey {
 public:
    explicit LiveKey(ApiKeyRow row) : row_(std::move(row)), spent_(row_.spent_atoms) {}

    /// Counts a request against the key's own rate; what is left of it. Empty: it has none.
    [[nodiscard]] std::optional<RateState> take_request(domain::TimeMs now_ms);
    /// The same without counting.
    [[nodiscard]] std::optional<RateState> look_at_rate(domain::TimeMs now_ms);

    /// As it was read; `spent_atoms` and `revoked` go on here.
    [[nodiscard]] const ApiKeyRow& row() const noexcept { return row_; }
    [[nodiscard]] bool has_expired(domain::TimeMs now_ms) const noexcept {
        return row_.expires_ms != 0 && row_.expires_ms <= now_ms;
    }
    /// unauthorized: revoked or expired; forbidden: it lacks the scope.
    [[nodiscard]] Result<void> check(std::uint32_t scope, domain::TimeMs now_ms) const;

    /// Sets up to `atoms` of the cap aside; how much that was.
    [[nodiscard]] std::uint64_t hold(std::uint64_t atoms);
    /// Lets `held_atoms` go, of which `paid_atoms` were paid.
    void settle(std::uint64_t held_atoms, std::uint64_t paid_atoms);
    [[nodiscard]] std::uint64_t spent_atoms() const;
    /// Takes what was paid and is not in the database yet; `unsave` puts it back.
    [[nodiscard]] std::uint64_t take_unsaved();
    void unsave(std::uint64_t atoms);
    [[nodiscard]] bool is_saved() const;

    /// Ends the key and tells all who listen, on the caller's thread.
    void revoke();
    /// `on_end` is called once, when the key is revoked; at once when it is already.
    [[nodiscard]] std::uint64_t listen(std::function<void()> on_end);
    void unlisten(std::uint64_t listener);

    /// True once per `every_ms`: whose turn it is to ask the chain about the delegation.
    [[nodiscard]] bool take_turn(domain::TimeMs now_ms, domain::TimeMs every_ms);

 private:
    /// Null when the key has no rate of its own. With mutex_ held.
    [[nodiscard]] TokenBucket* bucket(domain::TimeMs now_ms);
    [[nodiscard]] Rate rate() const noexcept {
        const auto count = static_cast<double>(row_.requests_per_minute);
        return {count / 60'000, count};
    }

    const ApiKeyRow row_;
    std::atomic<bool> revoked_{false};
    std::atomic<domain::TimeMs> asked_ms_{0};
    mutable std::mutex mutex_;
    std::optional<TokenBucket> bucket_;
    std::uint64_t spent_;
    std::uint64_t held_ = 0;
    std::uint64_t unsaved_ = 0;
    std::uint64_t next_listener_ = 1;
    std::map<std::uint64_t, std::function<void()>> listeners_;
};

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/job_seal.hpp"

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace marketplace::cli {

/// The market's answer for a worker's public key, believed for its address alone. audit_failed: it
/// is another account's key, or none.
[[nodiscard]] Result<ledger::crypto::PublicKey> parse_reader(std::string_view public_key,
                                                             const Address& worker);

/// Gives the data key of a sealed job to the workers of its leases. One thread.
class KeyGiver {
 public:
    /// None when this folder keeps no key of the job, as of one that is not sealed.
    [[nodiscard]] static Result<std::optional<KeyGiver>> make(Context& context,
                                                              const std::string& job);

    /// Gives the key to each lease that has none from here yet and may still need it: those it was
    /// given to. The first error, after all were tried: unavailable when a worker is not signed in
    /// now, audit_failed when the market sent another key than the worker's.
    [[nodiscard]] Result<std::vector<std::string>> give();

    /// Gives it while a job is watched: at most every two seconds unless `urgent`, and says what it
    /// did. What may get better is said once and tried again; the rest is the answer's error.
    enum class Urgency : std::uint8_t { kWhenDue, kNow };
    [[nodiscard]] Result<void> keep_giving(Urgency urgency);

 private:
    KeyGiver(Context& context, std::string job, JobSeal seal)
        : context_(&context), job_(std::move(job)), seal_(std::move(seal)) {}
    [[nodiscard]] Result<void> give_to(const Hash32& lease, const Address& worker);

    Context* context_;
    std::string job_;
    JobSeal seal_;
    std::set<Hash32> given_;
    std::string told_;  // the last trouble that was said
    std::chrono::steady_clock::time_point next_{};
};

}  // namespace marketplace::cli

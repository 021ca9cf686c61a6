// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// What an audit found; without the library that runs one.
namespace worker::verify {

enum class Verdict : std::uint8_t {
    kEqual,   // the same bits
    kWithin,  // other bits, inside the tolerance of the class: D1 outside its profile, D2
    kGrey,    // payment is withheld, a second auditor looks
    kWrong,
};
inline constexpr std::array<std::string_view, 4> kVerdictNames{"equal", "within", "grey", "wrong"};

[[nodiscard]] constexpr std::string_view to_string(Verdict verdict) noexcept {
    return kVerdictNames[static_cast<std::size_t>(verdict)];
}
[[nodiscard]] constexpr std::optional<Verdict> parse_verdict(std::string_view name) noexcept {
    for (std::size_t i = 0; i < kVerdictNames.size(); ++i)
        if (kVerdictNames[i] == name) return static_cast<Verdict>(i);
    return std::nullopt;
}

struct AuditReport {
    Verdict verdict = Verdict::kWrong;
    std::uint64_t steps = 0;  // run again
    ledger::base::Hash32 found_hash;
    /// Relative L2 of what the parameters moved over the segment; where the job ends, of the
    /// weights that it leaves, rounded as they are. Infinite where there is nothing to compare.
    double distance = 0;
    /// The first tensor of the file that differs, with its first value that does
    /// ("wte.weight[17]"), or what else is not as found; empty when nothing differs.
    std::string difference;
};

}  // namespace worker::verify

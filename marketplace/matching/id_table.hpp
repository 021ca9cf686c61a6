// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::matching {

/// Finds the number of a thing whose content its owner keeps: a flat hash table of (hash, number).
/// Numbers are never taken out. Pure, deterministic, not thread-safe.
class IdTable {
 public:
    static constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();

    /// The number that `equal(number)` says yes to; kNone when there is none.
    template <typename Equal>
    [[nodiscard]] std::uint32_t find(std::uint32_t hash, Equal&& equal) const {
        if (slots_.empty()) return kNone;
        const std::size_t mask = slots_.size() - 1;
        for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
            const Slot& slot = slots_[at];
            if (slot.id == kNone) return kNone;
            if (slot.hash == hash && equal(slot.id)) return slot.id;
        }
    }
    /// A number that is not in the table.
    void insert(std::uint32_t hash, std::uint32_t id);

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return slots_.capacity() * sizeof(Slot);
    }

 private:
    struct Slot {
        std::uint32_t hash = 0;
        std::uint32_t id = kNone;
    };
    std::vector<Slot> slots_;  // a power of two, at most three quarters in use
    std::size_t used_ = 0;
};

/// 32 well-mixed bits of 64.
[[nodiscard]] constexpr std::uint32_t mix(std::uint64_t value) noexcept {
    value = (value ^ value >> 32U) * 0xd6e8'feb8'6659'fd93ULL;
    return static_cast<std::uint32_t>(value >> 32U);
}

/// Texts as numbers, from `first` on.
class Names {
 public:
    explicit Names(std::uint32_t first = 0) : first_(first) {}
    /// The text's number, a new one when it is new.
    std::uint32_t intern(std::string_view name);
    /// IdTable::kNone for a text that was never interned.
    [[nodiscard]] std::uint32_t find(std::string_view name) const;
    [[nodiscard]] std::size_t size() const noexcept { return names_.size(); }
    [[nodiscard]] std::size_t memory_bytes() const noexcept;

 private:
    std::uint32_t first_ = 0;
    std::vector<std::string> names_;
    IdTable ids_;
};

}  // namespace marketplace::matching

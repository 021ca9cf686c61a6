// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/id_table.hpp"

#include <cstring>
#include <utility>

namespace marketplace::matching {
namespace {

/// Eight bytes at a time; the length tells texts apart that end in zeros.
std::uint32_t hash_of(std::string_view text) noexcept {
    std::uint64_t hash = text.size();
    for (; text.size() >= 8; text.remove_prefix(8)) {
        std::uint64_t word = 0;
        std::memcpy(&word, text.data(), 8);
        hash = (hash ^ word) * 0x9e37'79b9'7f4a'7c15ULL;
        hash ^= hash >> 29U;
    }
    std::uint64_t word = 0;
    std::memcpy(&word, text.data(), text.size());
    return mix((hash ^ word) * 0x9e37'79b9'7f4a'7c15ULL);
}

}  // namespace

void IdTable::insert(std::uint32_t hash, std::uint32_t id) {
    if ((used_ + 1) * 4 > slots_.size() * 3) {
        std::vector<Slot> old(slots_.empty() ? 16 : slots_.size() * 2);
        std::swap(old, slots_);
        used_ = 0;
        for (const Slot& slot : old)
            if (slot.id != kNone) insert(slot.hash, slot.id);
    }
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = hash & mask;
    while (slots_[at].id != kNone)
        at = (at + 1) & mask;
    slots_[at] = {hash, id};
    ++used_;
}

std::uint32_t Names::find(std::string_view name) const {
    return ids_.find(hash_of(name), [&](std::uint32_t id) { return names_[id - first_] == name; });
}

std::uint32_t Names::intern(std::string_view name) {
    const std::uint32_t known = find(name);
    if (known != IdTable::kNone) return known;
    const auto id = static_cast<std::uint32_t>(names_.size()) + first_;
    names_.emplace_back(name);
    ids_.insert(hash_of(name), id);
    return id;
}

std::size_t Names::memory_bytes() const noexcept {
    std::size_t out = ids_.memory_bytes() + names_.capacity() * sizeof(std::string);
    for (const std::string& name : names_)
        out += name.capacity();
    return out;
}

}  // namespace marketplace::matching

// SPDX-License-Identifier: Apache-2.0
#include "worker/model/token_masks.hpp"

#include <algorithm>

namespace worker::model {

namespace {

constexpr std::size_t kTokenBytesMax = 128;  // longer tokens never come
constexpr std::size_t kMasksMax = 256;

}  // namespace

TokenMasks::Table::Table(const Vocabulary& vocabulary, std::uint32_t size) : size_(size) {
    for (std::uint32_t token = 0; token < size; ++token) {
        const std::string bytes = vocabulary.bytes(token);
        Entry entry;
        entry.token = token;
        entry.begin = static_cast<std::uint32_t>(text_.size());
        const bool usable = bytes.size() <= kTokenBytesMax;
        entry.size = static_cast<std::uint16_t>(usable ? bytes.size() : 0);
        places_.emplace_back(entry.begin, entry.size);
        if (entry.size == 0) continue;
        text_ += bytes;
        entries_.push_back(entry);
    }
    const auto view = [this](const Entry& e) {
        return std::string_view(text_).substr(e.begin, e.size);
    };
    std::sort(entries_.begin(), entries_.end(),
              [&](const Entry& a, const Entry& b) { return view(a) < view(b); });
    for (std::size_t i = 1; i < entries_.size(); ++i) {
        const auto before = view(entries_[i - 1]);
        const auto here = view(entries_[i]);
        const auto differ = std::mismatch(before.begin(), before.end(), here.begin(), here.end());
        entries_[i].shared = static_cast<std::uint16_t>(differ.first - before.begin());
    }
}

std::string_view TokenMasks::Table::bytes(std::uint32_t token) const noexcept {
    const auto [begin, size] = places_[token];
    return std::string_view(text_).substr(begin, size);
}

const TokenMasks::Mask& TokenMasks::allowed(const JsonState& state) {
    std::string key = state.key();
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second;
    if (known_.size() >= kMasksMax) known_.clear();
    return known_.emplace(std::move(key), find(state)).first->second;
}

/// Goes through the tokens in the order of their bytes: what two have in common is run once, and
/// where it fails all that begin with it are passed over.
TokenMasks::Mask TokenMasks::find(const JsonState& state) {
    Mask out;
    out.bits.assign((table_->size_ + 63) / 64, 0);
    states_.resize(kTokenBytesMax + 1, state);
    state.copy_to(states_[0]);
    std::size_t good = 0;  // bytes of the last token that were taken
    for (const TokenMasks::Table::Entry& entry : table_->entries_) {
        if (entry.shared > good) continue;  // it fails where the last one did
        const std::string_view bytes = table_->bytes(entry.token);
        for (good = entry.shared; good < bytes.size(); ++good) {
            states_[good].copy_to(states_[good + 1]);
            if (!states_[good + 1].advance(static_cast<std::uint8_t>(bytes[good]))) break;
        }
        if (good < bytes.size()) continue;
        out.bits[entry.token / 64] |= std::uint64_t{1} << (entry.token % 64);
        ++out.count;
    }
    return out;
}

}  // namespace worker::model

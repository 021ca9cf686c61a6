// SPDX-License-Identifier: Apache-2.0
#include "worker/model/kv_cache.hpp"

#include "ledger/base/check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

KvSequence::~KvSequence() {
    if (cache_ != nullptr) cache_->end(*this);
}

void KvSequence::swap(KvSequence& other) noexcept {
    std::swap(cache_, other.cache_);
    std::swap(numbers_, other.numbers_);
    std::swap(pages_, other.pages_);
    std::swap(reused_, other.reused_);
    std::swap(published_, other.published_);
    std::swap(chain_, other.chain_);
}

std::byte* KvSequence::page_of(std::size_t position) {
    MR_CHECK(position >= reused_);
    MR_CHECK(position < capacity());
    return cache_->pages_[numbers_[position / kernels::KvShape::kPageTokens]].memory.data();
}

std::uint64_t KvCache::page_bytes(const DecoderConfig& config, kernels::KvType type) noexcept {
    const kernels::KvShape shape{type, config.kv_heads, config.head_dim};
    return config.depth * shape.page_bytes();
}

KvCache::KvCache(const DecoderConfig& config, const Options& options)
    : shape_{options.type, config.kv_heads, config.head_dim},
      page_bytes_(options.host_memory ? page_bytes(config, options.type) : 0),
      pages_(options.pages_max) {
    for (std::uint32_t i = options.pages_max; i > 0; --i)
        blank_.push_back(i - 1);
}

std::size_t KvCache::KeyHash::operator()(const Key& key) const noexcept {
    std::uint64_t hash = key.before;
    for (const std::uint32_t token : key.tokens) {
        hash = (hash ^ token) * 0x9E3779B97F4A7C15ULL;
        hash ^= hash >> 29U;
    }
    return static_cast<std::size_t>(hash);
}

KvCache::Key KvCache::key_of(std::uint64_t before, std::span<const std::uint32_t> tokens,
                             std::size_t page) {
    Key key;
    key.before = before;
    const auto from = tokens.subspan(page * kPageTokens, kPageTokens);
    std::copy(from.begin(), from.end(), key.tokens.begin());
    return key;
}

void KvCache::use(std::uint32_t number) {
    Page& page = pages_[number];
    if (page.users++ > 0) return;
    ++counts_.pages_used;
    if (page.serial != 0) idle_.erase(page.idle);
}

std::uint32_t KvCache::take_page() {
    std::uint32_t number = 0;
    if (!blank_.empty()) {
        number = blank_.back();
        blank_.pop_back();
    } else {
        number = idle_.front();
        idle_.pop_front();
        found_.erase(pages_[number].key);
        pages_[number].serial = 0;
    }
    Page& page = pages_[number];
    if (page.memory.size() < page_bytes_) page.memory = kernels::AlignedBytes(page_bytes_);
    return number;
}

Result<KvSequence> KvCache::begin(std::span<const std::uint32_t> tokens, std::size_t length_max) {
    const std::size_t count = (std::max(length_max, tokens.size()) + kPageTokens - 1) / kPageTokens;
    if (count > pages_.size())
        return fail(ErrorCode::too_large, fmt::format("{} tokens need {} cache pages, there are {}",
                                                      length_max, count, pages_.size()));
    // The last token is always run: its logits are what the caller is after.
    const std::size_t shareable = tokens.empty() ? 0 : (tokens.size() - 1) / kPageTokens;
    std::vector<std::uint32_t> shared;
    std::size_t shared_idle = 0;
    std::uint64_t chain = 0;
    while (shared.size() < shareable) {
        const auto hit = found_.find(key_of(chain, tokens, shared.size()));
        if (hit == found_.end()) break;
        if (pages_[hit->second].users == 0) ++shared_idle;
        chain = pages_[hit->second].serial;
        shared.push_back(hit->second);
    }
    if (count - shared.size() > blank_.size() + idle_.size() - shared_idle)
        return fail(ErrorCode::queue_full, "no cache pages are free");
    KvSequence out;
    out.cache_ = this;
    out.numbers_ = std::move(shared);
    for (const std::uint32_t number : out.numbers_)
        use(number);
    out.published_ = out.numbers_.size();
    out.reused_ = out.published_ * kPageTokens;
    out.chain_ = chain;
    while (out.numbers_.size() < count) {
        const std::uint32_t number = take_page();
        use(number);
        out.numbers_.push_back(number);
    }
    for (const std::uint32_t number : out.numbers_)
        out.pages_.push_back(pages_[number].memory.data());
    counts_.tokens_reused += out.reused_;
    counts_.tokens_begun += tokens.size();
    return out;
}

bool KvCache::grow(KvSequence& sequence, std::size_t length) {
    MR_CHECK(sequence.cache_ == this);
    const std::size_t count = (length + kPageTokens - 1) / kPageTokens;
    if (count <= sequence.numbers_.size()) return true;
    if (count - sequence.numbers_.size() > blank_.size() + idle_.size()) return false;
    while (sequence.numbers_.size() < count) {
        const std::uint32_t number = take_page();
        use(number);
        sequence.numbers_.push_back(number);
        sequence.pages_.push_back(pages_[number].memory.data());
    }
    return true;
}

void KvCache::publish(KvSequence& sequence, std::span<const std::uint32_t> tokens) {
    MR_CHECK(sequence.cache_ == this);
    MR_CHECK(tokens.size() <= sequence.capacity());
    for (; (sequence.published_ + 1) * kPageTokens <= tokens.size(); ++sequence.published_) {
        const std::uint32_t number = sequence.numbers_[sequence.published_];
        Page& page = pages_[number];
        const auto [place, added] =
            found_.try_emplace(key_of(sequence.chain_, tokens, sequence.published_), number);
        if (added) {
            page.serial = next_serial_++;
            page.key = place->first;
        }
        // A page that another sequence published first stays private here, but what follows it is
        // found by the other's serial.
        sequence.chain_ = pages_[place->second].serial;
    }
}

void KvCache::end(KvSequence& sequence) noexcept {
    // The last pages first: a page outlives those that can only be reached through it.
    for (std::size_t i = sequence.numbers_.size(); i > 0; --i) {
        const std::uint32_t number = sequence.numbers_[i - 1];
        Page& page = pages_[number];
        if (--page.users > 0) continue;
        --counts_.pages_used;
        if (page.serial == 0) {
            blank_.push_back(number);
        } else {
            page.idle = idle_.insert(idle_.end(), number);
        }
    }
}

}  // namespace worker::model

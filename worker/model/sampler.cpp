// SPDX-License-Identifier: Apache-2.0
#include "worker/model/sampler.hpp"

#include "worker/model/philox.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

/// Length of the character that begins with this byte, 0 when none does.
std::size_t sequence_length(std::uint8_t lead) {
    if (lead < 0x80) return 1;
    if (lead >= 0xC2 && lead <= 0xDF) return 2;
    if (lead >= 0xE0 && lead <= 0xEF) return 3;
    if (lead >= 0xF0 && lead <= 0xF4) return 4;
    return 0;
}

/// Whether `second` may follow `lead` (no overlong forms, no surrogates, nothing past U+10FFFF).
bool second_fits(std::uint8_t lead, std::uint8_t second) {
    if (lead == 0xE0) return second >= 0xA0 && second <= 0xBF;
    if (lead == 0xED) return second >= 0x80 && second <= 0x9F;
    if (lead == 0xF0) return second >= 0x90 && second <= 0xBF;
    if (lead == 0xF4) return second >= 0x80 && second <= 0x8F;
    return second >= 0x80 && second <= 0xBF;
}

Result<void> in_range(const char* name, double value, double min, double max) {
    if (std::isfinite(value) && value >= min && value <= max) return {};
    return fail(ErrorCode::invalid_field, fmt::format("{} must be {} to {}", name, min, max));
}

}  // namespace

Result<void> check_sampling(const SamplingParams& p) {
    TRY(in_range("temperature", p.temperature, 0.0, 2.0));
    TRY(in_range("top_p", p.top_p, 0.0, 1.0));
    TRY(in_range("min_p", p.min_p, 0.0, 1.0));
    TRY(in_range("presence_penalty", p.presence_penalty, -2.0, 2.0));
    TRY(in_range("frequency_penalty", p.frequency_penalty, -2.0, 2.0));
    if (p.stop.size() > 4) return fail(ErrorCode::invalid_field, "stop takes at most 4 strings");
    for (const std::string& stop : p.stop)
        if (stop.empty() || stop.size() > 256)
            return fail(ErrorCode::invalid_field, "a stop string has 1 to 256 bytes");
    if (p.logprobs && *p.logprobs > 20)
        return fail(ErrorCode::invalid_field, "logprobs must be at most 20");
    return {};
}

SampledToken Sampler::next(std::span<const float> logits) {
    const std::size_t size = logits.size();
    counts_.resize(size);
    scores_.assign(logits.begin(), logits.end());
    order_.resize(size);
    std::iota(order_.begin(), order_.end(), 0U);
    const double highest = *std::max_element(scores_.begin(), scores_.end());
    double total = 0;
    for (const double score : scores_)
        total += std::exp(score - highest);
    const double log_total = highest + std::log(total);

    for (std::size_t i = 0; i < size; ++i)
        if (counts_[i] > 0)
            scores_[i] -= params_.presence_penalty + params_.frequency_penalty * counts_[i];
    const auto better = [this](std::uint32_t a, std::uint32_t b) {
        return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b;
    };
    std::sort(order_.begin(), order_.end(), better);

    SampledToken out;
    out.token = order_.front();
    if (params_.temperature > 0) {
        const double best = scores_[order_.front()];
        std::size_t kept = params_.top_k > 0 ? std::min<std::size_t>(params_.top_k, size) : size;
        std::vector<double> share(kept);
        double sum = 0;
        for (std::size_t i = 0; i < kept; ++i) {
            share[i] = std::exp((scores_[order_[i]] - best) / params_.temperature);
            if (share[i] < params_.min_p) {  // relative to the best, which is 1
                kept = i;
                break;
            }
            sum += share[i];
        }
        double mass = 0;
        for (std::size_t i = 0; i < kept; ++i) {
            mass += share[i];
            if (mass >= params_.top_p * sum) {
                kept = i + 1;
                break;
            }
        }
        const Philox random(params_.seed, Philox::Stream::kSample);
        double left = random.unit(position_, 0) * mass;
        std::size_t chosen = 0;
        while (chosen + 1 < kept && left >= share[chosen])
            left -= share[chosen++];
        out.token = order_[chosen];
    }
    if (params_.logprobs) {
        out.logprob = static_cast<double>(logits[out.token]) - log_total;
        std::sort(order_.begin(), order_.end(), [&](std::uint32_t a, std::uint32_t b) {
            return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
        });
        for (std::size_t i = 0; i < std::min<std::size_t>(*params_.logprobs, size); ++i)
            out.top.push_back(
                {token_label(order_[i]), static_cast<double>(logits[order_[i]]) - log_total});
    }
    ++counts_[out.token];
    ++position_;
    return out;
}

std::string token_label(std::uint32_t token) {
    if (token < 0x80) return std::string(1, static_cast<char>(token));
    return fmt::format("\\x{:02x}", token);
}

void TextStream::decode() {
    while (!bytes_.empty()) {
        const auto lead = static_cast<std::uint8_t>(bytes_[0]);
        const std::size_t length = sequence_length(lead);
        std::size_t good = length == 0 ? 0 : 1;
        while (good > 0 && good < std::min(length, bytes_.size())) {
            const auto next = static_cast<std::uint8_t>(bytes_[good]);
            const bool fits = good == 1 ? second_fits(lead, next) : (next >= 0x80 && next <= 0xBF);
            if (!fits) break;
            ++good;
        }
        if (good == length && length > 0) {
            held_.append(bytes_, 0, length);
            bytes_.erase(0, length);
        } else if (good == bytes_.size()) {
            return;  // may still become a character
        } else {
            held_ += kReplacement;
            bytes_.erase(0, std::max<std::size_t>(good, 1));
        }
    }
}

TextStream::Out TextStream::release() {
    std::size_t first = std::string::npos;
    std::size_t keep = 0;
    for (const std::string& stop : stop_) {
        first = std::min(first, held_.find(stop));
        // The longest end of the text that begins this stop string.
        for (std::size_t size = std::min(stop.size() - 1, held_.size()); size > keep; --size)
            if (held_.compare(held_.size() - size, size, stop, 0, size) == 0) {
                keep = size;
                break;
            }
    }
    if (first != std::string::npos) {
        Out out{held_.substr(0, first), true};
        held_.clear();
        bytes_.clear();
        return out;
    }
    Out out{held_.substr(0, held_.size() - keep), false};
    held_.erase(0, held_.size() - keep);
    return out;
}

TextStream::Out TextStream::push(std::uint8_t byte) {
    bytes_.push_back(static_cast<char>(byte));
    decode();
    return release();
}

std::string TextStream::flush() {
    std::string out = std::move(held_);
    held_.clear();
    if (!bytes_.empty()) out += kReplacement;
    bytes_.clear();
    return out;
}

}  // namespace worker::model

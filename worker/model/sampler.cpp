// SPDX-License-Identifier: Apache-2.0
#include "worker/model/sampler.hpp"

#include "worker/model/philox.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

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
    TRY(in_range("repetition_penalty", p.repetition_penalty, 0.01, 10.0));
    if (p.logit_bias.size() > 300)
        return fail(ErrorCode::invalid_field, "logit_bias takes at most 300 tokens");
    for (const TokenBias& bias : p.logit_bias)
        TRY(in_range("logit_bias", bias.bias, -100.0, 100.0));
    if (p.stop.size() > 4) return fail(ErrorCode::invalid_field, "stop takes at most 4 strings");
    for (const std::string& stop : p.stop)
        if (stop.empty() || stop.size() > 256)
            return fail(ErrorCode::invalid_field, "a stop string has 1 to 256 bytes");
    if (!p.schema.empty() && !p.stop.empty())
        return fail(ErrorCode::invalid_field, "'stop' cannot cut a text that has to be JSON");
    if (p.logprobs && *p.logprobs > 20)
        return fail(ErrorCode::invalid_field, "logprobs must be at most 20");
    return {};
}

Sampler::Sampler(SamplingParams params, std::span<const std::uint32_t> prompt)
    : params_(std::move(params)) {
    if (params_.repetition_penalty == 1.0) return;
    seen_.assign(prompt.begin(), prompt.end());
    std::sort(seen_.begin(), seen_.end());
    seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
}

/// Biases first, then what repeats: the order that vLLM's users know.
void Sampler::score(std::span<const float> logits) {
    counts_.resize(logits.size());
    scores_.assign(logits.begin(), logits.end());
    for (const TokenBias& bias : params_.logit_bias)
        if (bias.token < scores_.size()) scores_[bias.token] += bias.bias;
    for (const std::uint32_t token : seen_)
        scores_[token] *=
            scores_[token] > 0 ? 1.0 / params_.repetition_penalty : params_.repetition_penalty;
    for (std::size_t i = 0; i < counts_.size(); ++i)
        if (counts_[i] > 0)
            scores_[i] -= params_.presence_penalty + params_.frequency_penalty * counts_[i];
    order_.resize(logits.size());
    std::iota(order_.begin(), order_.end(), 0U);
    sorted_ = 0;
}

/// The token at a rank, the lower number first among equals. A draw mostly ends among the first
/// few, so only as much is sorted as is looked at.
std::uint32_t Sampler::ranked(std::size_t rank) {
    while (sorted_ <= rank) {
        const std::size_t next = std::min(order_.size(), std::max<std::size_t>(64, 8 * sorted_));
        const auto at = [this](std::size_t i) {
            return order_.begin() + static_cast<std::ptrdiff_t>(i);
        };
        std::partial_sort(at(sorted_), at(next), order_.end(),
                          [this](std::uint32_t a, std::uint32_t b) {
                              return scores_[a] != scores_[b] ? scores_[a] > scores_[b] : a < b;
                          });
        sorted_ = next;
    }
    return order_[rank];
}

std::uint32_t Sampler::draw() {
    const std::size_t size = choosable_;
    const double best = scores_[ranked(0)];
    const auto share = [&](std::uint32_t token) {  // relative to the best, which is 1
        return std::exp((scores_[token] - best) / params_.temperature);
    };
    const std::size_t kept = params_.top_k > 0 ? std::min<std::size_t>(params_.top_k, size) : size;
    double sum = 0;
    if (kept < size) {
        for (std::size_t i = 0; i < kept; ++i) {
            const double one = share(ranked(i));
            if (one < params_.min_p) break;
            sum += one;
        }
    } else {
        for (std::uint32_t token = 0; token < scores_.size(); ++token) {
            const double one = share(token);
            if (one >= params_.min_p) sum += one;
        }
    }
    // top_p keeps the tokens whose predecessors do not yet hold its share.
    double mass = sum;
    std::size_t last = kept;
    if (params_.top_p < 1.0) {
        mass = 0;
        for (last = 0; last < kept && mass < params_.top_p * sum; ++last)
            mass += share(ranked(last));
        last = std::max<std::size_t>(last, 1);
    }
    const Philox random(params_.seed, Philox::Stream::kSample);
    double left = random.unit(position_, 0) * mass;
    for (std::size_t rank = 0; rank + 1 < last; ++rank) {
        const double one = share(ranked(rank));
        if (left < one) return ranked(rank);
        left -= one;
        if (share(ranked(rank + 1)) < params_.min_p) return ranked(rank);
    }
    return ranked(last - 1);
}

SampledToken Sampler::next(std::span<const float> logits, const TokenMasks::Mask* allowed) {
    score(logits);
    choosable_ = allowed != nullptr ? allowed->count : scores_.size();
    for (std::size_t i = 0; allowed != nullptr && i < scores_.size(); ++i)
        if ((allowed->bits[i / 64] >> (i % 64) & 1U) == 0)
            scores_[i] = -std::numeric_limits<double>::infinity();
    SampledToken out;
    out.token = params_.temperature > 0 ? draw() : ranked(0);
    if (params_.logprobs) {
        // The model's own shares, without penalties.
        scores_.assign(logits.begin(), logits.end());
        sorted_ = 0;
        const double highest = scores_[ranked(0)];
        double total = 0;
        for (const double score : scores_)
            total += std::exp(score - highest);
        const double log_total = highest + std::log(total);
        out.logprob = static_cast<double>(logits[out.token]) - log_total;
        for (std::size_t i = 0; i < std::min<std::size_t>(*params_.logprobs, logits.size()); ++i)
            out.top.push_back({ranked(i), scores_[ranked(i)] - log_total});
    }
    const bool again = counts_[out.token]++ > 0;
    if (params_.repetition_penalty != 1.0 && !again &&
        std::find(seen_.begin(), seen_.end(), out.token) == seen_.end())
        seen_.push_back(out.token);
    ++position_;
    return out;
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
        return out;
    }
    Out out{held_.substr(0, held_.size() - keep), false};
    held_.erase(0, held_.size() - keep);
    return out;
}

TextStream::Out TextStream::push(std::uint32_t token) {
    held_ += tokens_->push(token);
    return release();
}

std::string TextStream::flush() {
    std::string out = std::move(held_) + tokens_->finish();
    held_.clear();
    return out;
}

}  // namespace worker::model

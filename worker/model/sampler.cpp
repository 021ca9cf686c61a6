// SPDX-License-Identifier: Apache-2.0
#include "worker/model/sampler.hpp"

#include "ledger/base/check.hpp"
#include "worker/model/philox.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();  // below every score

/// Scores are finite, so that their differences are numbers. A NaN counts as the lowest.
double finite(double value) {
    constexpr double kMost = std::numeric_limits<double>::max();
    return value >= -kMost ? std::min(value, kMost) : -kMost;
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
    if (params_.repetition_penalty != 1.0) {
        named_.assign(prompt.begin(), prompt.end());
        std::sort(named_.begin(), named_.end());
        named_.erase(std::unique(named_.begin(), named_.end()), named_.end());
        changes_.assign(named_.size(), Change{0, 0, true});
    }
    for (const TokenBias& bias : params_.logit_bias)
        change_of(bias.token).bias += bias.bias;
}

Sampler::Change& Sampler::change_of(std::uint32_t token) {
    const auto at = std::lower_bound(named_.begin(), named_.end(), token);
    const auto place = at - named_.begin();
    if (at == named_.end() || *at != token) {
        named_.insert(at, token);
        changes_.insert(changes_.begin() + place, Change{});
    }
    return changes_[static_cast<std::size_t>(place)];
}

/// Biases first, then what repeats: the order that vLLM's users know.
double Sampler::score(float logit, const Change& change) const noexcept {
    double out = static_cast<double>(logit) + change.bias;
    if (change.repeats)
        out *= out > 0 ? 1.0 / params_.repetition_penalty : params_.repetition_penalty;
    if (change.count > 0)
        out -= params_.presence_penalty + params_.frequency_penalty * change.count;
    return finite(out);
}

void Sampler::load(std::span<const float> logits) {
    entries_.resize(logits.size());
    for (std::uint32_t token = 0; token < logits.size(); ++token)
        entries_[token] = {finite(static_cast<double>(logits[token])), token};
    sorted_ = 0;
    floor_ = kNever;
    elsewhere_ = 0;
    sum_error_ = 0;
    elsewhere_error_ = 0;
}

void Sampler::load(std::span<const kernels::ListedLogit> listed) {
    entries_.clear();
    for (const kernels::ListedLogit& one : listed)
        entries_.push_back({static_cast<double>(one.logit), one.token});
    sorted_ = 0;
}

/// Named tokens get their scores, and those that are not listed their entries: what they had among
/// the others goes.
void Sampler::change_scores(const Shortlist& list) {
    for (Entry& entry : entries_) {
        const auto at = std::lower_bound(named_.begin(), named_.end(), entry.token);
        if (at == named_.end() || *at != entry.token) continue;
        const auto place = static_cast<std::size_t>(at - named_.begin());
        entry.score = score(list.logits[place], changes_[place]);
    }
    for (std::size_t i = 0; i < named_.size(); ++i) {
        const float logit = list.logits[i];
        if (logit >= list.floor) continue;
        entries_.push_back({score(logit, changes_[i]), named_[i]});
        if (params_.temperature > 0)
            elsewhere_ -= std::exp((static_cast<double>(logit) - floor_) / params_.temperature);
    }
}

/// The entry at a rank, the lower number first among equals; nothing if a token without an entry
/// may stand there. A draw mostly ends among the first few, so only as much is sorted as is looked
/// at.
const Sampler::Entry* Sampler::ranked(std::size_t rank) {
    while (sorted_ <= rank) {
        if (sorted_ == entries_.size()) return nullptr;
        const std::size_t next = std::min(entries_.size(), std::max<std::size_t>(64, 8 * sorted_));
        const auto at = [this](std::size_t i) {
            return entries_.begin() + static_cast<std::ptrdiff_t>(i);
        };
        std::partial_sort(at(sorted_), at(next), entries_.end(),
                          [](const Entry& a, const Entry& b) {
                              return a.score != b.score ? a.score > b.score : a.token < b.token;
                          });
        sorted_ = next;
    }
    return entries_[rank].score >= floor_ ? &entries_[rank] : nullptr;
}

/// Relative to the best, which has 1.
double Sampler::share(double score, double best) const noexcept {
    return std::exp((score - best) / params_.temperature);
}

/// What the whole row's sum of shares is within: a point, if all of it is here.
std::optional<Sampler::Bounds> Sampler::total_share(double best, std::size_t kept) {
    double sum = 0;
    if (kept < choosable_) {
        for (std::size_t i = 0; i < kept; ++i) {
            const Entry* entry = ranked(i);
            if (entry == nullptr) return std::nullopt;
            const double one = share(entry->score, best);
            if (one < params_.min_p) break;
            sum += one;
        }
        return Bounds{sum, sum};
    }
    const double edge = share(floor_, best);
    // Of the others some may, or may not, have the least share.
    if (params_.min_p > 0 && edge * (1 + sum_error_) >= params_.min_p) return std::nullopt;
    for (const Entry& entry : entries_) {
        const double one = share(entry.score, best);
        if (one >= params_.min_p) sum += one;
    }
    const double others = params_.min_p > 0 ? 0.0 : edge * elsewhere_;
    const double error = sum_error_ * sum + edge * elsewhere_error_;
    return Bounds{sum + others - error, sum + others + error};
}

/// Rounded sums and products never fall when what goes in rises. So a draw from the lower bound and
/// one from the upper, which go the same way at each step, go the way of all between.
std::optional<std::uint32_t> Sampler::draw() {
    const auto highest =
        std::max_element(entries_.begin(), entries_.end(),
                         [](const Entry& a, const Entry& b) { return a.score < b.score; });
    const double best = highest->score;
    if (best < floor_) return std::nullopt;
    const std::size_t size = choosable_;
    const std::size_t kept = params_.top_k > 0 ? std::min<std::size_t>(params_.top_k, size) : size;
    const std::optional<Bounds> sum = total_share(best, kept);
    if (!sum) return std::nullopt;
    // top_p keeps the tokens whose predecessors do not yet hold its share.
    Bounds mass = *sum;
    std::size_t last = kept;
    if (params_.top_p < 1.0) {
        double before = 0;
        for (last = 0; last < kept; ++last) {
            const bool more = before < params_.top_p * sum->low;
            if (more != (before < params_.top_p * sum->high)) return std::nullopt;
            if (!more) break;
            const Entry* entry = ranked(last);
            if (entry == nullptr) return std::nullopt;
            before += share(entry->score, best);
        }
        mass = {before, before};
        last = std::max<std::size_t>(last, 1);
    }
    const double place = Philox(params_.seed, Philox::Stream::kSample).unit(position_, 0);
    Bounds left{place * mass.low, place * mass.high};
    for (std::size_t rank = 0; rank + 1 < last; ++rank) {
        const Entry* entry = ranked(rank);
        if (entry == nullptr) return std::nullopt;
        const double one = share(entry->score, best);
        const bool here = left.high < one;
        if (here != (left.low < one)) return std::nullopt;
        if (here) return entry->token;
        left = {left.low - one, left.high - one};
        if (params_.min_p <= 0) continue;
        // Where tokens without an entry follow, none of them has the least share: total_share saw.
        const std::uint32_t here_token = entry->token;
        const Entry* next = ranked(rank + 1);
        if (next == nullptr || share(next->score, best) < params_.min_p) return here_token;
    }
    const Entry* entry = ranked(last - 1);
    return entry == nullptr ? std::nullopt : std::optional(entry->token);
}

std::optional<std::uint32_t> Sampler::likeliest() const {
    const Entry* best = &entries_.front();
    for (const Entry& one : entries_)
        if (one.score > best->score || (one.score == best->score && one.token < best->token))
            best = &one;
    return best->score >= floor_ ? std::optional(best->token) : std::nullopt;
}

std::optional<std::uint32_t> Sampler::choose() {
    return params_.temperature > 0 ? draw() : likeliest();
}

/// The model's own shares, without penalties; the entries are the logits. False if a token without
/// an entry may be among those to report.
bool Sampler::report(float logit, double elsewhere_plain, std::size_t vocab, SampledToken& out) {
    double highest = kNever;
    for (const Entry& entry : entries_)
        highest = std::max(highest, entry.score);
    double total = elsewhere_plain > 0 ? elsewhere_plain * std::exp(floor_ - highest) : 0.0;
    for (const Entry& entry : entries_)
        total += std::exp(entry.score - highest);
    const double log_total = highest + std::log(total);
    out.logprob = finite(static_cast<double>(logit)) - log_total;
    for (std::size_t i = 0; i < std::min<std::size_t>(*params_.logprobs, vocab); ++i) {
        const Entry* entry = ranked(i);
        if (entry == nullptr) return false;
        out.top.push_back({entry->token, entry->score - log_total});
    }
    return true;
}

void Sampler::take(std::uint32_t token) {
    const bool repeats = params_.repetition_penalty != 1.0;
    if (repeats || params_.presence_penalty != 0 || params_.frequency_penalty != 0) {
        Change& change = change_of(token);
        ++change.count;
        change.repeats = repeats;
    }
    ++position_;
}

SampledToken Sampler::next(std::span<const float> logits, const TokenMasks::Mask* allowed) {
    load(logits);
    for (std::size_t i = 0; i < named_.size() && named_[i] < logits.size(); ++i)
        entries_[named_[i]].score = score(logits[named_[i]], changes_[i]);
    choosable_ = allowed != nullptr ? allowed->count : entries_.size();
    for (std::size_t i = 0; allowed != nullptr && i < entries_.size(); ++i)
        if ((allowed->bits[i / 64] >> (i % 64) & 1U) == 0) entries_[i].score = kNever;
    const std::optional<std::uint32_t> token = choose();
    MR_CHECK(token.has_value());  // no token is without an entry
    SampledToken out;
    out.token = *token;
    if (params_.logprobs) {
        load(logits);
        MR_CHECK(report(logits[out.token], 0, logits.size(), out));
    }
    take(out.token);
    return out;
}

ShortlistWish Sampler::wish() const noexcept {
    return {params_.temperature, params_.logprobs.has_value(), named_};
}

std::optional<SampledToken> Sampler::next(const Shortlist& list) {
    if (list.listed.empty()) return std::nullopt;
    MR_CHECK(list.logits.size() == named_.size());
    load(list.listed);
    choosable_ = list.vocab;
    floor_ = static_cast<double>(list.floor);
    elsewhere_ = list.elsewhere;
    sum_error_ = Shortlist::kSumError;
    elsewhere_error_ = Shortlist::kSumError * list.elsewhere;
    change_scores(list);
    const std::optional<std::uint32_t> token = choose();
    if (!token) return std::nullopt;
    SampledToken out;
    out.token = *token;
    if (params_.logprobs) {
        load(list.listed);
        const auto named = std::lower_bound(named_.begin(), named_.end(), out.token);
        const auto listed =
            std::find_if(list.listed.begin(), list.listed.end(),
                         [&](const kernels::ListedLogit& one) { return one.token == out.token; });
        const float logit = listed != list.listed.end()
                                ? listed->logit
                                : list.logits[static_cast<std::size_t>(named - named_.begin())];
        if (!report(logit, list.elsewhere_plain, list.vocab, out)) return std::nullopt;
    }
    take(out.token);
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

// SPDX-License-Identifier: Apache-2.0
#include "worker/model/token_draw.hpp"

#include "ledger/base/check.hpp"

#include <optional>
#include <utility>

namespace worker::model {

TokenDraw::TokenDraw(std::vector<Sampler*> samplers) : samplers_(std::move(samplers)) {
    for (const Sampler* sampler : samplers_)
        wishes_.push_back(sampler != nullptr ? sampler->wish() : ShortlistWish{});
}

std::vector<SampledToken> TokenDraw::draw(ForwardPass& decoder, std::span<const Shortlist> lists,
                                          kernels::Pool& pool) {
    MR_CHECK(lists.empty() || lists.size() == samplers_.size());
    std::vector<std::optional<SampledToken>> drawn(samplers_.size());
    pool.run(lists.size(), [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t i = begin; i < end; ++i)
            if (samplers_[i] != nullptr) drawn[i] = samplers_[i]->next(lists[i]);
    });
    whole_.clear();
    std::vector<std::span<const float>> rows;  // a decoder brings one at a time
    for (std::size_t i = 0; i < samplers_.size(); ++i) {
        if (samplers_[i] == nullptr || drawn[i]) continue;
        whole_.push_back(i);
        rows.push_back(decoder.row(i));
    }
    pool.run(whole_.size(), [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t i = begin; i < end; ++i)
            drawn[whole_[i]] = samplers_[whole_[i]]->next(rows[i]);
    });
    std::vector<SampledToken> out;
    for (auto& token : drawn)
        out.push_back(token ? std::move(*token) : SampledToken{});
    return out;
}

}  // namespace worker::model

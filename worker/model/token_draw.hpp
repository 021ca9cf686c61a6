// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/pool.hpp"
#include "worker/model/forward_pass.hpp"
#include "worker/model/sampler.hpp"

#include <cstddef>
#include <span>
#include <vector>

namespace worker::model {

/// Draws of all wanted rows of a pass: `wishes` go into ForwardPass::shorten, whose lists `draw`
/// reads. A list that does not decide its draw costs its row's way to this memory, never another
/// token. One sampler a row, in their order; null: the row is drawn elsewhere. Samplers outlive
/// this. Not thread-safe.
class TokenDraw {
 public:
    explicit TokenDraw(std::vector<Sampler*> samplers);
    [[nodiscard]] std::span<const ShortlistWish> wishes() const noexcept { return wishes_; }
    /// Tokens in the order of rows; those of null samplers mean nothing.
    [[nodiscard]] std::vector<SampledToken> draw(ForwardPass& decoder,
                                                 std::span<const Shortlist> lists,
                                                 kernels::Pool& pool);
    /// Rows that `draw` read whole.
    [[nodiscard]] std::size_t whole_rows() const noexcept { return whole_.size(); }

 private:
    std::vector<Sampler*> samplers_;
    std::vector<ShortlistWish> wishes_;
    std::vector<std::size_t> whole_;
};

}  // namespace worker::model

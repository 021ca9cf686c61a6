// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/decoder_config.hpp"
#include "worker/model/decoder_layout.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

// Torch stays behind this declaration: its headers cost 14 s per file that includes them.
namespace at {
class Tensor;
}
namespace c10 {
struct Device;
}

namespace worker::model {

/// Rows of tokens, each of one or more texts after another. int64 tensors, [rows, length].
/// A token sees what is before it with its own number in `segments`; `positions` count from 0 in
/// each text, all below the config's context.
struct TokenRows {
    const at::Tensor& tokens;
    const at::Tensor& positions;
    const at::Tensor& segments;
};

/// Low-rank additions to some linear layers: y += scale · B·(A·x). One entry per linear of the
/// layout: the place of A [rank, in] among `tensors`, with B [out, rank] after it, or kNoSlot.
struct LinearAdapters {
    std::span<const at::Tensor> tensors;
    std::span<const std::size_t> places;
    double scale = 0;
};

/// The forward pass of any decoder with torch operations, for gradients. The same numbers as
/// `Decoder`, up to rounding. Products run in the weights' type; the residual stream, norms and
/// softmax in fp32 (in double with double weights). Immutable.
class TorchDecoder {
 public:
    /// `config` has passed check_decoder_config; `length` is the longest row.
    TorchDecoder(const DecoderConfig& config, const DecoderLayout& layout, std::uint32_t length,
                 const c10::Device& device);
    ~TorchDecoder();
    TorchDecoder(const TorchDecoder&) = delete;
    TorchDecoder& operator=(const TorchDecoder&) = delete;

    /// Logits [picked, vocab] in fp32 (or double) of the places `picked` (int64, row · length +
    /// column). `weights` are in the layout's order.
    [[nodiscard]] at::Tensor logits(std::span<const at::Tensor> weights,
                                    const LinearAdapters* adapters, const TokenRows& rows,
                                    const at::Tensor& picked) const;

 private:
    struct State;
    struct Pass;
    std::unique_ptr<State> state_;
};

}  // namespace worker::model

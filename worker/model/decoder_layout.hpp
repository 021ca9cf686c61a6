// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/decoder_config.hpp"
#include "worker/model/layout.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// The linear layers that adapters may sit on. GPT-2 and GPT-NeoX keep queries, keys and values in
/// one.
enum class LinearPart : std::uint8_t {
    kQuery = 0,
    kKey = 1,
    kValue = 2,
    kFused = 3,
    kOut = 4,
    kGate = 5,
    kUp = 6,
    kDown = 7
};

/// One linear layer by its places among the slots.
struct LinearPlace {
    LinearPart part = LinearPart::kQuery;
    std::string module;      // as published tools call it: "model.layers.0.self_attn.q_proj"
    std::size_t weight = 0;  // [out, in], or [in, out] with GPT-2's names
    std::size_t bias = 0;    // kNoSlot: none
    std::int64_t in = 0;
    std::int64_t out = 0;
};
struct NormPlace {
    std::size_t weight = 0;
    std::size_t bias = 0;  // kNoSlot: none
};
struct LayerPlaces {
    NormPlace before_attention;
    NormPlace before_mlp;
    std::size_t query_norm = 0;    // kNoSlot: none
    std::size_t key_norm = 0;      // kNoSlot: none
    std::size_t first_linear = 0;  // of its linears, in the order of LinearPart
    std::size_t linears = 0;
};

/// The tensors of a decoder as its family's files have them, in the order of a flat buffer.
struct DecoderLayout {
    static constexpr std::size_t kNoSlot = ~std::size_t{0};

    /// `config` has passed check_decoder_config. `prefix` comes before the names of the body
    /// ("transformer." or nothing with GPT-2, else nothing).
    DecoderLayout(const DecoderConfig& config, std::string_view prefix);

    std::vector<ParameterSlot> slots;
    std::vector<LinearPlace> linears;
    std::vector<LayerPlaces> layers;
    std::size_t embedding = 0;
    std::size_t positions = kNoSlot;
    NormPlace last;
    std::size_t head = 0;  // the embedding where it is tied
    bool in_out = false;   // linear weights are [in, out]

    [[nodiscard]] std::uint64_t size() const noexcept {
        return slots.back().offset + slots.back().size;
    }
};

}  // namespace worker::model

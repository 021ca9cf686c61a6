// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/model/decoder_config.hpp"

#include <string_view>
#include <vector>

namespace worker::model {

/// What one naming scheme calls the parts of a decoder. Names of tensors are whole; those of norms
/// and linear layers lack ".weight" or ".bias"; those of a layer begin after "…layers.7.". Empty:
/// the scheme has no such part.
struct DecoderNames {
    std::string_view embedding;
    std::string_view positions;
    std::string_view head;
    std::string_view last;
    std::string_view layers;
    std::string_view before_attention;
    std::vector<std::string_view> qkv;  // queries, keys and values, or the three in one
    std::string_view query_norm;
    std::string_view key_norm;
    std::string_view attention_out;
    std::string_view before_mlp;
    std::string_view gate;
    std::string_view up;
    std::string_view down;
};

[[nodiscard]] DecoderNames decoder_names(WeightNames scheme);

}  // namespace worker::model

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/model/decoder_config.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace worker::model {

/// Reads a `config.json` of the Llama, Mistral, Qwen2, Qwen3, GPT-2 and GPT-NeoX architectures.
/// data_invalid: not JSON, a field that is missing, of the wrong type or against another one.
/// unsupported: a value that is not implemented. job_limit: a size past the limits. Each names the
/// field. Fields that do not change the numbers are ignored.
[[nodiscard]] ledger::base::Result<DecoderConfig> parse_hf_config(std::string_view json);

/// How the publisher wants text to be made.
struct GenerationDefaults {
    std::vector<std::uint32_t> end_tokens;  // any of them ends the text
    std::optional<double> temperature;      // 0 when the file turns sampling off
    std::optional<double> top_p;
    std::optional<std::uint32_t> top_k;
    std::optional<double> repetition_penalty;
};

/// Reads `generation_config.json`, or the same fields of `config.json`. data_invalid as above.
[[nodiscard]] ledger::base::Result<GenerationDefaults> parse_generation_config(
    std::string_view json, std::uint32_t vocab);

}  // namespace worker::model

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::api {

enum class CompletionKind : std::uint8_t { kText, kChat };

/// An OpenAI completion request, checked.
struct CompletionInput {
    CompletionKind kind = CompletionKind::kText;
    std::string model;
    std::string prompt;    ///< after the chat template of byte-level models
    std::string messages;  ///< chat: canonical JSON list of {"content","role"}, content as text
    wire::Sampling sampling;
    bool has_seed = false;
    bool has_temperature = false;
    bool has_top_p = false;
    bool stream = false;
    bool include_usage = false;
    bool echo = false;
    std::vector<std::string> ignored;  ///< parameters we do not know
};

/// Reads what OpenAI's clients send, with vLLM's `top_k`, `min_p` and `repetition_penalty`. A
/// parameter that is known and not offered here (tools, audio, …) is refused: unsupported. Details
/// begin with the parameter in quotes.
///
/// The chat template of byte-level models: each message as "role: content\n", then "assistant:".
/// Models published as folders get `messages` and apply their own; there a "developer" is "system",
/// the name that templates know.
[[nodiscard]] ledger::base::Result<CompletionInput> parse_completion(CompletionKind kind,
                                                                     std::string_view body);

}  // namespace marketplace::api

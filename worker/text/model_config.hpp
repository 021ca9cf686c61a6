// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// What a model's `tokenizer_config.json` says of conversations.
struct TokenizerConfig {
    struct NamedTemplate {
        std::string name;  ///< "default", "tool_use", …
        std::string source;
    };
    std::vector<NamedTemplate> chat_templates;
    std::optional<std::string> bos_token;
    std::optional<std::string> eos_token;
    std::optional<std::string> pad_token;
    std::optional<std::string> unk_token;
    std::optional<bool> add_bos_token;
    std::optional<bool> add_eos_token;

    /// Null when there is none of that name.
    [[nodiscard]] const std::string* chat_template(std::string_view name = "default") const;
};

/// Unknown fields are passed over: these files are written by many hands.
/// Errors: data_invalid, job_limit.
[[nodiscard]] ledger::base::Result<TokenizerConfig> parse_tokenizer_config(std::string_view file);

/// What a chat template is rendered with: the messages, the tools (or null) and the special tokens.
[[nodiscard]] ledger::base::Result<Value> make_chat_context(const TokenizerConfig& config,
                                                            Value messages, Value tools,
                                                            bool add_generation_prompt);

}  // namespace worker::text

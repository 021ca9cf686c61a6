// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/executor/executor.hpp"
#include "worker/model/vocabulary.hpp"
#include "worker/text/chat_template.hpp"
#include "worker/text/model_config.hpp"
#include "worker/text/tokenizer.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

namespace worker::executor {

/// The words of a published model: its tokenizer and its chat template. Immutable.
class FolderWords {
 public:
    /// Reads `tokenizer.json` and `tokenizer_config.json`, if there is one. data_missing,
    /// data_invalid, unsupported, job_limit. A template that is missing or not supported is no
    /// error here: it refuses chats.
    [[nodiscard]] static ledger::base::Result<FolderWords> open(
        const std::filesystem::path& folder);

    [[nodiscard]] std::shared_ptr<const model::Vocabulary> vocabulary() const;

    /// The tokens of a request. A prompt is plain text with what the tokenizer puts around one;
    /// messages go through the chat template, whose special tokens count as such.
    /// invalid_request: the template refuses the messages. unsupported: no template.
    /// context_length_exceeded: more than `prompt_tokens_max`.
    [[nodiscard]] ledger::base::Result<std::vector<std::uint32_t>> encode(
        const GenerateRequest& request) const;

    /// The text of a conversation, through the chat template; `prompt` asks for the beginning of an
    /// answer after it. Errors as `encode`.
    [[nodiscard]] ledger::base::Result<std::string> render(text::Value messages, text::Value tools,
                                                           bool prompt) const;
    [[nodiscard]] const text::Tokenizer& tokenizer() const noexcept { return tokenizer_; }
    [[nodiscard]] const text::TokenizerConfig& config() const noexcept { return config_; }

 private:
    FolderWords(text::Tokenizer tokenizer, text::TokenizerConfig config,
                ledger::base::Result<text::ChatTemplate> chat)
        : tokenizer_(std::move(tokenizer)), config_(std::move(config)), chat_(std::move(chat)) {}
    [[nodiscard]] ledger::base::Result<std::string> render(std::string_view messages) const;

    text::Tokenizer tokenizer_;
    text::TokenizerConfig config_;
    ledger::base::Result<text::ChatTemplate> chat_;
};

/// The request's parameters, with the publisher's advice for what it does not give.
[[nodiscard]] model::SamplingParams with_defaults(const GenerateRequest& request,
                                                  const model::GenerationDefaults& defaults);

}  // namespace worker::executor

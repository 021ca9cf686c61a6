// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/services.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// Tokens and their log probabilities as OpenAI shows them.
namespace marketplace::api {

/// A token as text; "bytes:\xf0\x9f" when its bytes are no UTF-8 alone.
[[nodiscard]] std::string token_text(std::string_view bytes);

/// An entry of a chat's "logprobs.content". `logprobs` holds the token, then the alternatives.
[[nodiscard]] Json chat_logprob(const std::vector<wire::TokenLogprob>& logprobs);

/// The "logprobs" of a text completion, token by token.
class TextLogprobs {
 public:
    void add(const std::vector<wire::TokenLogprob>& logprobs);
    /// What was added since the last call; null when nothing was.
    [[nodiscard]] Json take();

 private:
    Json tokens_ = Json::array();
    Json token_logprobs_ = Json::array();
    Json top_logprobs_ = Json::array();
    Json offsets_ = Json::array();
    std::size_t offset_ = 0;  ///< of the next token in the text, in bytes
};

}  // namespace marketplace::api

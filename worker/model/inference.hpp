// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/weight_matrix.hpp"
#include "worker/model/hf_config.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/vocabulary.hpp"

#include <cstdint>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace worker::model {

/// What is added to a token's logit before anything else.
struct TokenBias {
    std::uint32_t token = 0;
    double bias = 0;  // -100 to 100
};

/// How the next token is chosen. Defaults are OpenAI's.
struct SamplingParams {
    std::uint32_t max_tokens = 16;
    double temperature = 1.0;  // 0 takes the likeliest token
    double top_p = 1.0;
    std::uint32_t top_k = 0;  // 0: no limit
    double min_p = 0.0;
    double presence_penalty = 0.0;
    double frequency_penalty = 0.0;
    double repetition_penalty = 1.0;    // of tokens of the prompt and the text, 0.01 to 10
    std::vector<TokenBias> logit_bias;  // at most 300
    std::uint64_t seed = 0;
    std::vector<std::string> stop;  // at most 4; the text ends before the match
    // A JSON schema (JsonGrammar) that the text follows; empty: any text. It ends, with "stop",
    // when the value is whole; it goes without stop strings.
    std::string schema;
    std::optional<std::uint32_t> logprobs;  // how many alternatives to report, at most 20
};

enum class FinishReason : std::uint8_t { kStop, kLength, kCancelled };
/// "stop", "length" or "cancelled".
[[nodiscard]] std::string_view to_string(FinishReason reason) noexcept;

struct TokenLogprob {
    std::string token;  // its bytes, which may be part of a character; a special token's name
    double logprob = 0;
};

/// A piece of a completion: complete UTF-8, possibly of several tokens.
struct TokenPiece {
    std::string text;
    std::uint32_t index = 0;  // completion tokens up to and with this piece, less one
    // When asked for: the token, then the alternatives, likeliest first. Each piece is then of one
    // token, and its text may be empty.
    std::vector<TokenLogprob> logprobs;
};

struct CompletionUsage {
    std::uint64_t prompt_tokens = 0;
    std::uint64_t completion_tokens = 0;
    FinishReason finish = FinishReason::kLength;
};

/// What one scheduler step produced for one request; `done` comes last and once.
struct GenerationEvent {
    std::string id;
    std::optional<TokenPiece> piece;
    std::optional<CompletionUsage> done;
};

/// A served language model of any family on CPU with continuous batching: requests join and leave
/// at each step. The same seed gives the same text at any batch size. A prompt that begins as an
/// earlier one did reuses its keys and values. Keys and values take memory as sequences grow; when
/// it runs out, the youngest gives its part up and is computed again later. Not thread-safe.
class TextModel {
 public:
    struct Options {
        std::uint32_t max_sequences = 16;  // running at once; the rest wait in order
        std::uint32_t max_waiting = 64;    // then queue_full
        // Prompt tokens taken in one step; fewer beside texts under way, which wait for them.
        std::uint32_t prefill_chunk = 128;
        std::uint32_t cache_pages = 0;  // of 16 tokens; 0: all sequences at full context
        std::uint32_t threads = 1;      // change no bit of any result
        std::uint64_t cache_bytes = 0;  // no more pages than these hold; 0: any
        std::string device = "cpu";     // or "cuda": cache_bytes is what is free there
    };

    /// Loads weights (a checkpoint or an exported file) that must fit `spec` exactly.
    [[nodiscard]] static ledger::base::Result<TextModel> load(const ModelSpec& spec,
                                                              const std::filesystem::path& weights,
                                                              const Options& options);
    /// Loads a folder as model hubs publish them. A text ends at any of its end tokens.
    /// `vocabulary` belongs to the model; tokens of its own that the model lacks are refused when
    /// they come.
    [[nodiscard]] static ledger::base::Result<TextModel> open(
        const std::filesystem::path& folder, std::shared_ptr<const Vocabulary> vocabulary,
        kernels::WeightFormat format, const Options& options);
    ~TextModel();
    TextModel(TextModel&&) noexcept;
    TextModel& operator=(TextModel&&) noexcept;

    /// Queues a request. context_length_exceeded, invalid_field or queue_full refuse it.
    [[nodiscard]] ledger::base::Result<void> add(std::string id, std::string_view prompt,
                                                 const SamplingParams& params);
    /// As `add`, for a prompt that is tokens already (a chat, say). out_of_range: no such token;
    /// invalid_field: no token at all.
    [[nodiscard]] ledger::base::Result<void> add_tokens(std::string id,
                                                        std::vector<std::uint32_t> tokens,
                                                        const SamplingParams& params);
    /// How the publisher wants text to be made; empty for the project's own models.
    [[nodiscard]] const GenerationDefaults& defaults() const noexcept;
    /// Ends a request; its `done` event (cancelled) comes with the next step. Unknown ids are
    /// ignored.
    void cancel(std::string_view id);
    /// Holds a request whose reader is slow, or lets it go on; a held one takes no turns. Unknown
    /// ids are ignored.
    enum class Pace : std::uint8_t { kGo, kHold };
    void pace(std::string_view id, Pace pace);
    /// True while a step has something to do.
    [[nodiscard]] bool busy() const noexcept;
    /// How often a sequence gave its memory up, for tests and people.
    [[nodiscard]] std::uint64_t preemptions() const noexcept;

    /// A vector of length 1 for a text: the mean of its last hidden states. The same bits whatever
    /// runs besides. context_length_exceeded; out_of_range: no such token; queue_full while
    /// others hold the memory.
    [[nodiscard]] ledger::base::Result<std::vector<float>> embed(
        const std::vector<std::uint32_t>& tokens);
    /// Numbers of an embedding.
    [[nodiscard]] std::uint32_t width() const noexcept;
    /// Whether `embed` would take each of the texts, but for memory.
    [[nodiscard]] ledger::base::Result<void> check_embed(
        const std::deque<std::vector<std::uint32_t>>& texts) const;
    /// The tokens of a text of a model of the project's own.
    [[nodiscard]] ledger::base::Result<std::vector<std::uint32_t>> encode(
        std::string_view text) const;
    /// One pass through the model for every running request.
    [[nodiscard]] std::vector<GenerationEvent> step();

    /// Runs one request to its end. `on_piece` returns false to cancel.
    [[nodiscard]] ledger::base::Result<CompletionUsage> generate(
        std::string_view prompt, const SamplingParams& params,
        const std::function<bool(const TokenPiece&)>& on_piece);

    /// Logits of the last position of `tokens`, for tests and audits.
    [[nodiscard]] ledger::base::Result<std::vector<float>> logits(
        const std::vector<std::uint32_t>& tokens);

 private:
    struct State;
    explicit TextModel(std::unique_ptr<State> state) noexcept;
    std::unique_ptr<State> state_;
};

}  // namespace worker::model

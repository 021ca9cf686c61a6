// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/model/decoder.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/kv_cache.hpp"
#include "worker/model/sampler.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// Inside of TextModel: its own files include this, and no other.
namespace worker::model {

/// A schema and the masks found for it, which its requests share.
struct JsonRules {
    std::string schema;
    std::shared_ptr<const JsonGrammar> grammar;
    TokenMasks masks;
};

/// What a text has to be, and how far it is.
struct JsonText {
    explicit JsonText(std::shared_ptr<JsonRules> rules_in)
        : rules(std::move(rules_in)), state(*rules->grammar) {}

    std::shared_ptr<JsonRules> rules;
    JsonState state;
};

/// One text under way.
struct TextSequence {
    TextSequence(std::string id_in, std::vector<std::uint32_t> tokens_in,
                 const SamplingParams& params, std::unique_ptr<TokenStream> stream)
        : id(std::move(id_in)),
          tokens(std::move(tokens_in)),
          sampler(params, tokens),
          text(std::move(stream), params.stop),
          with_logprobs(params.logprobs.has_value()) {}

    std::string id;
    std::vector<std::uint32_t> tokens;
    std::size_t done = 0;  // tokens whose keys and values are cached
    CompletionUsage usage;
    std::uint64_t tokens_max = 0;
    Sampler sampler;
    TextStream text;
    std::unique_ptr<JsonText> json;  // none: any text
    bool with_logprobs;
    std::uint64_t arrival = 0;  // the lower, the older
    bool cancelled = false;
    bool held = false;
    bool finished = false;
    KvSequence cache;
};

/// The requests of a TextModel: who waits, runs and is parked, which rows a step takes, and what
/// their tokens become. Not thread-safe.
struct TextModel::State {
    State(const PublishedModel& published, std::shared_ptr<const Vocabulary> vocabulary_in,
          std::unique_ptr<kernels::Pool> pool_in, const Options& options_in,
          const KvCache::Options& cache_options_in)
        : config(published.model->config),
          defaults(published.defaults),
          vocabulary(std::move(vocabulary_in)),
          options(options_in),
          pool(std::move(pool_in)),
          cache(config, cache_options_in) {}

    static KvCache::Options cache_options(const DecoderModel& model, const Options& options);
    /// The model with the decoder of its device. Errors as CudaDecoder's.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<State>> make(
        PublishedModel published, std::shared_ptr<const Vocabulary> vocabulary,
        std::unique_ptr<kernels::Pool> pool, const Options& options);
    [[nodiscard]] std::size_t capacity() const noexcept;
    [[nodiscard]] ledger::base::Result<std::unique_ptr<JsonText>> make_json(
        const std::string& schema);
    [[nodiscard]] bool token_ends(std::uint32_t token) const;
    void sample_json(TextSequence& sequence, std::span<const float> logits,
                     std::vector<GenerationEvent>& out);
    [[nodiscard]] std::string name_of(std::uint32_t token) const;
    [[nodiscard]] ledger::base::Result<void> check_tokens(
        const std::vector<std::uint32_t>& tokens) const;
    using Sequences = std::deque<std::unique_ptr<TextSequence>>;
    void admit();
    void park();
    void give_up(TextSequence& sequence);
    [[nodiscard]] bool make_room(TextSequence& sequence);
    [[nodiscard]] std::size_t prompt_budget() const;
    void learn(double seconds, std::size_t rows, bool decoding);
    void drop_cancelled(std::vector<GenerationEvent>& out);
    std::vector<DecoderRow> plan(std::vector<TextSequence*>& sampled);
    void take_token(TextSequence& sequence, const SampledToken& token,
                    std::vector<GenerationEvent>& out);
    void finish(TextSequence& sequence, FinishReason reason, std::vector<GenerationEvent>& out);

    ledger::base::Result<void> add(std::string id, std::vector<std::uint32_t> tokens,
                                   std::uint64_t prompt_tokens, const SamplingParams& params);

    DecoderConfig config;
    GenerationDefaults defaults;
    std::shared_ptr<const Vocabulary> vocabulary;
    Options options;
    std::unique_ptr<kernels::Pool> pool;
    KvCache cache;
    std::unique_ptr<ForwardPass> decoder;
    // Each in order of arrival.
    Sequences waiting;
    Sequences running;
    Sequences parked;                                // held; their memory goes first
    std::shared_ptr<const TokenMasks::Table> table;  // made when it is first needed
    std::deque<std::shared_ptr<JsonRules>> rules;    // of the latest schemas
    std::uint64_t arrivals = 0;
    std::uint64_t preemptions = 0;
    // What steps took lately, in seconds; 0: not known yet. They decide how prompts are cut, never
    // what comes out.
    double decode_step_s = 0;
    double prompt_row_s = 0;
};

}  // namespace worker::model

// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/model/decoder.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/kv_cache.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <deque>
#include <limits>
#include <span>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

struct Sequence {
    Sequence(std::string id_in, std::vector<std::uint32_t> tokens_in, const SamplingParams& params,
             std::unique_ptr<TokenStream> stream)
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
    bool with_logprobs;
    bool cancelled = false;
    bool finished = false;
    KvSequence cache;
};

}  // namespace

std::string_view to_string(FinishReason reason) noexcept {
    switch (reason) {
        case FinishReason::kStop:
            return "stop";
        case FinishReason::kLength:
            return "length";
        case FinishReason::kCancelled:
            return "cancelled";
    }
    return "length";
}

struct TextModel::State {
    State(PublishedModel published, std::shared_ptr<const Vocabulary> vocabulary_in,
          std::unique_ptr<kernels::Pool> pool_in, const Options& options_in)
        : config(published.model->config),
          defaults(std::move(published.defaults)),
          vocabulary(std::move(vocabulary_in)),
          options(options_in),
          pool(std::move(pool_in)),
          cache(config, cache_options(*published.model, options)),
          decoder(std::move(published.model), cache, *pool) {}

    static KvCache::Options cache_options(const DecoderModel& model, const Options& options);
    [[nodiscard]] std::size_t capacity() const noexcept;
    [[nodiscard]] std::string name_of(std::uint32_t token) const;
    [[nodiscard]] Result<void> check_tokens(const std::vector<std::uint32_t>& tokens) const;
    void admit();
    void drop_cancelled(std::vector<GenerationEvent>& out);
    std::vector<DecoderRow> plan(std::vector<Sequence*>& sampled);
    void take_token(Sequence& sequence, const SampledToken& token,
                    std::vector<GenerationEvent>& out);
    void finish(Sequence& sequence, FinishReason reason, std::vector<GenerationEvent>& out);

    Result<void> add(std::string id, std::vector<std::uint32_t> tokens, std::uint64_t prompt_tokens,
                     const SamplingParams& params);

    DecoderConfig config;
    GenerationDefaults defaults;
    std::shared_ptr<const Vocabulary> vocabulary;
    Options options;
    std::unique_ptr<kernels::Pool> pool;
    KvCache cache;
    Decoder decoder;
    std::deque<std::unique_ptr<Sequence>> waiting;
    std::vector<std::unique_ptr<Sequence>> running;
};

KvCache::Options TextModel::State::cache_options(const DecoderModel& model,
                                                 const Options& options) {
    constexpr std::uint64_t kPage = kernels::KvShape::kPageTokens;
    KvCache::Options out;
    // Exact weights deserve exact keys; rounded ones lose nothing by rounded keys.
    out.type = model.format == kernels::WeightFormat::kF32 ? kernels::KvType::kF32
                                                           : kernels::KvType::kBf16;
    std::uint64_t all = options.max_sequences * ((model.config.context + kPage - 1) / kPage);
    if (options.cache_bytes > 0)
        all = std::clamp<std::uint64_t>(
            options.cache_bytes / KvCache::page_bytes(model.config, out.type), 1, all);
    out.pages_max = options.cache_pages > 0 ? options.cache_pages
                                            : static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                                  all, std::numeric_limits<std::uint32_t>::max()));
    return out;
}

/// Tokens that one sequence can have.
std::size_t TextModel::State::capacity() const noexcept {
    return std::min<std::size_t>(config.context, cache.pages() * kernels::KvShape::kPageTokens);
}

std::string TextModel::State::name_of(std::uint32_t token) const {
    std::string bytes = vocabulary->bytes(token);
    return bytes.empty() ? vocabulary->label(token) : bytes;
}

Result<void> TextModel::State::check_tokens(const std::vector<std::uint32_t>& tokens) const {
    for (const std::uint32_t token : tokens)
        if (token >= config.vocab)
            return fail(ErrorCode::out_of_range,
                        fmt::format("token {} is past the model's {}", token, config.vocab));
    return {};
}

void TextModel::State::admit() {
    while (!waiting.empty() && running.size() < options.max_sequences) {
        Sequence& next = *waiting.front();
        // The last token is sampled but never fed back, so it needs no place of its own.
        auto pages = cache.begin(next.tokens, next.tokens.size() + next.tokens_max - 1);
        if (!pages) return;  // the pages of a running sequence become free
        next.cache = std::move(*pages);
        next.done = next.cache.reused();
        running.push_back(std::move(waiting.front()));
        waiting.pop_front();
    }
}

void TextModel::State::finish(Sequence& sequence, FinishReason reason,
                              std::vector<GenerationEvent>& out) {
    sequence.usage.finish = reason;
    out.push_back({sequence.id, std::nullopt, sequence.usage});
    sequence.finished = true;
}

void TextModel::State::drop_cancelled(std::vector<GenerationEvent>& out) {
    const auto drop = [&](auto& list) {
        for (auto& sequence : list)
            if (sequence->cancelled) finish(*sequence, FinishReason::kCancelled, out);
        std::erase_if(list, [](const auto& sequence) { return sequence->cancelled; });
    };
    drop(waiting);
    drop(running);
}

std::vector<DecoderRow> TextModel::State::plan(std::vector<Sequence*>& sampled) {
    std::vector<DecoderRow> rows;
    std::size_t budget = options.prefill_chunk;
    for (auto& sequence : running) {
        Sequence& s = *sequence;
        const std::size_t left = s.tokens.size() - s.done;
        // A decoding sequence always moves; prompts share the chunk in order of arrival.
        const std::size_t take = left == 1 ? 1 : std::min(left, budget);
        if (left > 1) budget -= take;
        for (std::size_t i = 0; i < take; ++i) {
            const std::size_t place = s.done + i;
            const bool last = place + 1 == s.tokens.size();
            rows.push_back({s.tokens[place], static_cast<std::uint32_t>(place), &s.cache, last});
            if (last) sampled.push_back(&s);
        }
        s.done += take;
    }
    return rows;
}

void TextModel::State::take_token(Sequence& s, const SampledToken& token,
                                  std::vector<GenerationEvent>& out) {
    s.tokens.push_back(token.token);
    ++s.usage.completion_tokens;
    const auto& ends = defaults.end_tokens;
    const bool ended = std::find(ends.begin(), ends.end(), token.token) != ends.end();
    const bool full = s.usage.completion_tokens >= s.tokens_max;
    TextStream::Out text;
    if (!ended) text = s.text.push(token.token);  // the end itself is no text
    if ((ended || full) && !text.stopped) text.text += s.text.flush();
    if (!text.text.empty() || (s.with_logprobs && !ended)) {
        TokenPiece piece;
        piece.text = std::move(text.text);
        piece.index = static_cast<std::uint32_t>(s.usage.completion_tokens - 1);
        if (token.logprob && !ended) {
            piece.logprobs.push_back({name_of(token.token), *token.logprob});
            for (const TokenShare& share : token.top)
                piece.logprobs.push_back({name_of(share.token), share.logprob});
        }
        out.push_back({s.id, std::move(piece), std::nullopt});
    }
    if (text.stopped || ended) {
        finish(s, FinishReason::kStop, out);
    } else if (full) {
        finish(s, FinishReason::kLength, out);
    }
}

TextModel::TextModel(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
TextModel::~TextModel() = default;
TextModel::TextModel(TextModel&&) noexcept = default;
TextModel& TextModel::operator=(TextModel&&) noexcept = default;

Result<TextModel> TextModel::load(const ModelSpec& spec, const std::filesystem::path& weights,
                                  const Options& options) {
    const auto* gpt = std::get_if<GptShape>(&spec);
    if (gpt == nullptr) return fail(ErrorCode::unsupported, "only \"gpt\" models are served");
    TRY_ASSIGN(const TensorSet tensors, TensorSet::open_file(weights));
    auto pool = std::make_unique<kernels::Pool>(options.threads);
    PublishedModel own;
    TRY_ASSIGN(own.model, DecoderModel::load(decoder_config_of(*gpt), tensors,
                                             kernels::WeightFormat::kF32, *pool));
    return TextModel(
        std::make_unique<State>(std::move(own), byte_vocabulary(), std::move(pool), options));
}

Result<TextModel> TextModel::open(const std::filesystem::path& folder,
                                  std::shared_ptr<const Vocabulary> vocabulary,
                                  kernels::WeightFormat format, const Options& options) {
    auto pool = std::make_unique<kernels::Pool>(options.threads);
    TRY_ASSIGN(PublishedModel published, load_published(folder, format, *pool));
    return TextModel(std::make_unique<State>(std::move(published), std::move(vocabulary),
                                             std::move(pool), options));
}

const GenerationDefaults& TextModel::defaults() const noexcept {
    return state_->defaults;
}

Result<void> TextModel::add(std::string id, std::string_view prompt, const SamplingParams& params) {
    TRY_ASSIGN(auto tokens, state_->vocabulary->encode(prompt));
    const std::uint64_t prompt_tokens = tokens.size();
    // Something has to come before the first token.
    if (tokens.empty()) {
        TRY_ASSIGN(tokens, state_->vocabulary->encode("\n"));
    }
    return state_->add(std::move(id), std::move(tokens), prompt_tokens, params);
}

Result<void> TextModel::add_tokens(std::string id, std::vector<std::uint32_t> tokens,
                                   const SamplingParams& params) {
    const std::uint64_t prompt_tokens = tokens.size();
    return state_->add(std::move(id), std::move(tokens), prompt_tokens, params);
}

Result<void> TextModel::State::add(std::string id, std::vector<std::uint32_t> tokens,
                                   std::uint64_t prompt_tokens, const SamplingParams& params) {
    TRY(check_sampling(params));
    if (waiting.size() >= options.max_waiting)
        return fail(ErrorCode::queue_full, "too many requests wait for this model");
    if (tokens.empty()) return fail(ErrorCode::invalid_field, "the prompt has no tokens");
    TRY(check_tokens(tokens));
    for (const TokenBias& bias : params.logit_bias)
        if (bias.token >= config.vocab)
            return fail(ErrorCode::out_of_range,
                        fmt::format("'logit_bias' names token {}, the model has {}", bias.token,
                                    config.vocab));
    const std::uint64_t most = capacity();
    const std::uint64_t room = tokens.size() > most ? 0 : most - tokens.size() + 1;
    const std::uint64_t wanted = params.max_tokens > 0 ? params.max_tokens : room;
    if (room == 0 || wanted > room)
        return fail(ErrorCode::context_length_exceeded,
                    fmt::format("the model's context is {} tokens; the prompt has {} and {} were "
                                "asked for",
                                most, prompt_tokens, params.max_tokens));
    auto sequence =
        std::make_unique<Sequence>(std::move(id), std::move(tokens), params, vocabulary->stream());
    sequence->usage.prompt_tokens = prompt_tokens;
    sequence->tokens_max = wanted;
    waiting.push_back(std::move(sequence));
    return {};
}

void TextModel::cancel(std::string_view id) {
    for (auto& sequence : state_->waiting)
        if (sequence->id == id) sequence->cancelled = true;
    for (auto& sequence : state_->running)
        if (sequence->id == id) sequence->cancelled = true;
}

bool TextModel::busy() const noexcept {
    return !state_->running.empty() || !state_->waiting.empty();
}

std::vector<GenerationEvent> TextModel::step() {
    State& s = *state_;
    std::vector<GenerationEvent> out;
    s.drop_cancelled(out);
    s.admit();
    if (s.running.empty()) return out;
    std::vector<Sequence*> sampled;
    const std::vector<DecoderRow> rows = s.plan(sampled);
    const std::span<const float> logits = s.decoder.logits(rows);
    for (auto& sequence : s.running)
        s.cache.publish(sequence->cache, std::span(sequence->tokens).first(sequence->done));
    for (std::size_t i = 0; i < sampled.size(); ++i)
        s.take_token(*sampled[i],
                     sampled[i]->sampler.next(logits.subspan(i * s.config.vocab, s.config.vocab)),
                     out);
    std::erase_if(s.running, [](const auto& sequence) { return sequence->finished; });
    return out;
}

Result<CompletionUsage> TextModel::generate(
    std::string_view prompt, const SamplingParams& params,
    const std::function<bool(const TokenPiece&)>& on_piece) {
    MR_CHECK(!busy());
    TRY(add("generate", prompt, params));
    CompletionUsage usage;
    while (busy()) {
        for (const GenerationEvent& event : step()) {
            if (event.piece && !on_piece(*event.piece)) cancel("generate");
            if (event.done) usage = *event.done;
        }
    }
    return usage;
}

Result<std::vector<float>> TextModel::logits(const std::vector<std::uint32_t>& tokens) {
    State& s = *state_;
    if (tokens.empty() || tokens.size() > s.capacity())
        return fail(ErrorCode::context_length_exceeded, "1 to context tokens");
    TRY(s.check_tokens(tokens));
    TRY_ASSIGN(KvSequence sequence, s.cache.begin(tokens, tokens.size()));
    std::vector<DecoderRow> rows;
    for (std::size_t i = sequence.reused(); i < tokens.size(); ++i)
        rows.push_back(
            {tokens[i], static_cast<std::uint32_t>(i), &sequence, i + 1 == tokens.size()});
    const std::span<const float> logits = s.decoder.logits(rows);
    return std::vector<float>(logits.begin(), logits.end());
}

}  // namespace worker::model

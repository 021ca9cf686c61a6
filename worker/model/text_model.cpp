// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/model/cuda_decoder.hpp"
#include "worker/model/decoder.hpp"
#include "worker/model/decoder_model.hpp"
#include "worker/model/embeddings.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/kv_cache.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
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
    std::unique_ptr<JsonText> json;  // none: any text
    bool with_logprobs;
    std::uint64_t arrival = 0;  // the lower, the older
    bool cancelled = false;
    bool held = false;
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
    [[nodiscard]] static Result<std::unique_ptr<State>> make(
        PublishedModel published, std::shared_ptr<const Vocabulary> vocabulary,
        std::unique_ptr<kernels::Pool> pool, const Options& options);
    [[nodiscard]] std::size_t capacity() const noexcept;
    [[nodiscard]] Result<std::unique_ptr<JsonText>> make_json(const std::string& schema);
    [[nodiscard]] bool token_ends(std::uint32_t token) const;
    void sample_json(Sequence& sequence, std::span<const float> logits,
                     std::vector<GenerationEvent>& out);
    [[nodiscard]] std::string name_of(std::uint32_t token) const;
    [[nodiscard]] Result<void> check_tokens(const std::vector<std::uint32_t>& tokens) const;
    using Sequences = std::deque<std::unique_ptr<Sequence>>;
    void admit();
    void park();
    void give_up(Sequence& sequence);
    [[nodiscard]] bool make_room(Sequence& sequence);
    [[nodiscard]] std::size_t prompt_budget() const;
    void learn(double seconds, std::size_t rows, bool decoding);
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

namespace {

void insert_by_arrival(std::deque<std::unique_ptr<Sequence>>& list,
                       std::unique_ptr<Sequence> sequence) {
    const auto place = std::upper_bound(
        list.begin(), list.end(), sequence->arrival,
        [](std::uint64_t arrival, const auto& other) { return arrival < other->arrival; });
    list.insert(place, std::move(sequence));
}

/// Moves what `wanted` picks, keeping both lists in order.
template <typename Wanted>
void move_if(std::deque<std::unique_ptr<Sequence>>& from, std::deque<std::unique_ptr<Sequence>>& to,
             Wanted wanted) {
    for (auto& sequence : from)
        if (wanted(*sequence)) insert_by_arrival(to, std::move(sequence));
    std::erase(from, nullptr);
}

}  // namespace

KvCache::Options TextModel::State::cache_options(const DecoderModel& model,
                                                 const Options& options) {
    constexpr std::uint64_t kPage = kernels::KvShape::kPageTokens;
    KvCache::Options out;
    // Exact weights deserve exact keys; rounded ones lose nothing by rounded keys.
    out.type = model.format == kernels::WeightFormat::kF32 ? kernels::KvType::kF32
                                                           : kernels::KvType::kBf16;
    out.host_memory = options.device == "cpu";
    const std::uint64_t page = out.host_memory ? KvCache::page_bytes(model.config, out.type)
                                               : CudaDecoder::page_bytes(model.config);
    std::uint64_t all = options.max_sequences * ((model.config.context + kPage - 1) / kPage);
    if (options.cache_bytes > 0)
        all = std::clamp<std::uint64_t>(options.cache_bytes / page, 1, all);
    out.pages_max = options.cache_pages > 0 ? options.cache_pages
                                            : static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                                  all, std::numeric_limits<std::uint32_t>::max()));
    return out;
}

Result<std::unique_ptr<TextModel::State>> TextModel::State::make(
    PublishedModel published, std::shared_ptr<const Vocabulary> vocabulary,
    std::unique_ptr<kernels::Pool> pool, const Options& wanted) {
    Options options = wanted;
    if (options.device != "cpu") {
        TRY_ASSIGN(const CudaDecoder::Memory memory, CudaDecoder::memory());
        // The weights, the table a second time, and room for rows on their way.
        constexpr std::uint64_t kWorking = std::uint64_t{2} << 30U;
        const std::uint64_t taken = 3 * parameter_count(published.model->config) + kWorking;
        const std::uint64_t left = memory.free_bytes > taken ? memory.free_bytes - taken : 1;
        options.cache_bytes = left / 10 * 9 + 1;
    }
    const KvCache::Options cache_options = State::cache_options(*published.model, options);
    auto out = std::make_unique<State>(published, std::move(vocabulary), std::move(pool), options,
                                       cache_options);
    if (options.device == "cpu") {
        out->decoder =
            std::make_unique<Decoder>(std::move(published.model), out->cache, *out->pool);
        return out;
    }
    CudaDecoder::Options device;
    device.pages = cache_options.pages_max;
    device.rows_max =
        std::max<std::uint32_t>(options.prefill_chunk, kChunkRows) + options.max_sequences;
    device.sequences_max = options.max_sequences;
    TRY_ASSIGN(out->decoder, CudaDecoder::create(*published.model, device, *out->pool));
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
        auto pages = cache.begin(next.tokens, next.tokens.size());
        while (!pages) {
            const auto full = std::find_if(parked.rbegin(), parked.rend(),
                                           [](const auto& s) { return s->cache.capacity() > 0; });
            if (full == parked.rend()) break;
            give_up(**full);
            pages = cache.begin(next.tokens, next.tokens.size());
        }
        if (!pages) return;  // the pages of a running sequence become free
        // Each that runs may need a page soon: who comes in now is not to be put out at once.
        if (cache.pages() - cache.counts().pages_used < running.size()) return;
        next.cache = std::move(*pages);
        next.done = next.cache.reused();
        auto sequence = std::move(waiting.front());
        waiting.pop_front();
        insert_by_arrival(running, std::move(sequence));
    }
}

/// Who is held leaves its turn to others and keeps its memory until it is needed.
void TextModel::State::park() {
    const auto held = [](const Sequence& s) { return s.held; };
    move_if(waiting, parked, held);
    move_if(running, parked, held);
    // Its pages may be gone: it begins again where they end.
    move_if(parked, waiting, [](const Sequence& s) { return !s.held && s.cache.capacity() == 0; });
    for (auto& sequence : parked)
        if (!sequence->held && running.size() < options.max_sequences)
            insert_by_arrival(running, std::move(sequence));
    std::erase(parked, nullptr);
}

/// Its keys and values go; the tokens stay and are run again.
void TextModel::State::give_up(Sequence& sequence) {
    sequence.cache = KvSequence();
    sequence.done = 0;
    ++preemptions;
}

/// A page for the next token of a running sequence: from who is held, then from the youngest. False
/// when it was its own turn to give up.
bool TextModel::State::make_room(Sequence& sequence) {
    while (!cache.grow(sequence.cache, sequence.tokens.size())) {
        const auto full = std::find_if(parked.rbegin(), parked.rend(),
                                       [](const auto& s) { return s->cache.capacity() > 0; });
        if (full != parked.rend()) {
            give_up(**full);
            continue;
        }
        auto youngest = std::move(running.back());
        running.pop_back();
        Sequence& victim = *youngest;
        give_up(victim);
        insert_by_arrival(waiting, std::move(youngest));
        if (&victim == &sequence) return false;
    }
    return true;
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
    drop(parked);
}

/// Prompt rows that a step may take: beside texts under way only as many as keep it below twice
/// the time of a step without prompts.
std::size_t TextModel::State::prompt_budget() const {
    const bool decoding = std::any_of(running.begin(), running.end(), [](const auto& s) {
        return s->tokens.size() - s->done == 1;
    });
    if (!decoding || decode_step_s <= 0 || prompt_row_s <= 0) return options.prefill_chunk;
    constexpr double kShare = 0.8;
    constexpr double kLeast = 8;  // prompts move on, whatever the clock says
    const double rows = std::max(kLeast, kShare * decode_step_s / prompt_row_s);
    return std::min<std::size_t>(options.prefill_chunk, static_cast<std::size_t>(rows));
}

void TextModel::State::learn(double seconds, std::size_t prompt_rows, bool decoding) {
    constexpr double kNew = 0.2;
    const auto blend = [](double& known, double now) {
        known = known <= 0 ? now : known + kNew * (now - known);
    };
    if (prompt_rows == 0) {
        blend(decode_step_s, seconds);
    } else if (!decoding) {
        blend(prompt_row_s, seconds / static_cast<double>(prompt_rows));
    } else if (seconds > decode_step_s) {
        blend(prompt_row_s, (seconds - decode_step_s) / static_cast<double>(prompt_rows));
    }
}

/// A text under way always moves. Half of the prompts' share goes to the oldest prompt first, half
/// to all alike, so that neither a long prompt nor many short ones stop the others.
std::vector<DecoderRow> TextModel::State::plan(std::vector<Sequence*>& sampled) {
    std::vector<DecoderRow> rows;
    std::size_t budget = prompt_budget();
    const auto prompts =
        static_cast<std::size_t>(std::count_if(running.begin(), running.end(), [](const auto& s) {
            return s->tokens.size() - s->done > 1;
        }));
    const std::size_t least = prompts == 0 ? 0 : std::max<std::size_t>(1, budget / (2 * prompts));
    std::size_t later = prompts;
    // By number: making room takes sequences from the end.
    for (std::size_t i = 0; i < running.size(); ++i) {
        Sequence& s = *running[i];
        if (!make_room(s)) break;
        const std::size_t left = s.tokens.size() - s.done;
        std::size_t take = 1;
        if (left > 1) {
            --later;
            const std::size_t kept = std::min(budget, later * least);
            take = std::min(left, std::min(budget, std::max(least, budget - kept)));
            budget -= take;
        }
        for (std::size_t j = 0; j < take; ++j) {
            const std::size_t place = s.done + j;
            const bool last = place + 1 == s.tokens.size();
            rows.push_back({s.tokens[place], static_cast<std::uint32_t>(place), &s.cache, last});
            if (last) sampled.push_back(&s);
        }
        s.done += take;
    }
    return rows;
}

Result<std::unique_ptr<JsonText>> TextModel::State::make_json(const std::string& schema) {
    if (schema.empty()) return nullptr;
    const auto known = std::find_if(rules.begin(), rules.end(),
                                    [&](const auto& one) { return one->schema == schema; });
    if (known != rules.end()) return std::make_unique<JsonText>(*known);
    TRY_ASSIGN(auto grammar, JsonGrammar::parse(schema));
    if (!table) table = std::make_shared<TokenMasks::Table>(*vocabulary, config.vocab);
    rules.push_back(
        std::make_shared<JsonRules>(JsonRules{schema, std::move(grammar), TokenMasks(table)}));
    constexpr std::size_t kSchemasMax = 8;
    if (rules.size() > kSchemasMax) rules.pop_front();
    return std::make_unique<JsonText>(rules.back());
}

void TextModel::State::sample_json(Sequence& s, std::span<const float> logits,
                                   std::vector<GenerationEvent>& out) {
    const TokenMasks::Mask* mask = &s.json->rules->masks.allowed(s.json->state);
    TokenMasks::Mask with_ends;
    if (s.json->state.complete()) {  // a number, which only the model can end
        with_ends = *mask;
        for (const std::uint32_t token : defaults.end_tokens) {
            std::uint64_t& word = with_ends.bits[token / 64];
            const std::uint64_t bit = std::uint64_t{1} << (token % 64);
            with_ends.count += (word & bit) == 0 ? 1 : 0;
            word |= bit;
        }
        mask = &with_ends;
    }
    // A vocabulary that cannot say what has to come: the text stays a part.
    if (mask->count == 0) return finish(s, FinishReason::kLength, out);
    const SampledToken token = s.sampler.next(logits, mask);
    if (!s.json->state.advance(table->bytes(token.token))) MR_CHECK(token_ends(token.token));
    take_token(s, token, out);
}

bool TextModel::State::token_ends(std::uint32_t token) const {
    const auto& ends = defaults.end_tokens;
    return std::find(ends.begin(), ends.end(), token) != ends.end();
}

void TextModel::State::take_token(Sequence& s, const SampledToken& token,
                                  std::vector<GenerationEvent>& out) {
    s.tokens.push_back(token.token);
    ++s.usage.completion_tokens;
    const bool ended = token_ends(token.token);
    const bool closed = s.json && s.json->state.closed();
    const bool full = s.usage.completion_tokens >= s.tokens_max;
    TextStream::Out text;
    if (!ended) text = s.text.push(token.token);  // the end itself is no text
    if ((ended || closed || full) && !text.stopped) text.text += s.text.flush();
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
    if (text.stopped || ended || closed) {
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
    TRY_ASSIGN(auto state,
               State::make(std::move(own), byte_vocabulary(), std::move(pool), options));
    return TextModel(std::move(state));
}

Result<TextModel> TextModel::open(const std::filesystem::path& folder,
                                  std::shared_ptr<const Vocabulary> vocabulary,
                                  kernels::WeightFormat format, const Options& options) {
    auto pool = std::make_unique<kernels::Pool>(options.threads);
    TRY_ASSIGN(PublishedModel published, load_published(folder, format, *pool));
    TRY_ASSIGN(auto state,
               State::make(std::move(published), std::move(vocabulary), std::move(pool), options));
    return TextModel(std::move(state));
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
    TRY_ASSIGN(sequence->json, make_json(params.schema));
    sequence->tokens_max = wanted;
    sequence->arrival = arrivals++;
    waiting.push_back(std::move(sequence));
    return {};
}

void TextModel::cancel(std::string_view id) {
    for (auto* list : {&state_->waiting, &state_->running, &state_->parked})
        for (auto& sequence : *list)
            if (sequence->id == id) sequence->cancelled = true;
}

void TextModel::pace(std::string_view id, Pace pace) {
    for (auto* list : {&state_->waiting, &state_->running, &state_->parked})
        for (auto& sequence : *list)
            if (sequence->id == id) sequence->held = pace == Pace::kHold;
}

bool TextModel::busy() const noexcept {
    const State& s = *state_;
    return !s.running.empty() || !s.waiting.empty() ||
           std::any_of(s.parked.begin(), s.parked.end(),
                       [](const auto& one) { return !one->held || one->cancelled; });
}

std::uint64_t TextModel::preemptions() const noexcept {
    return state_->preemptions;
}

Result<std::vector<float>> TextModel::embed(const std::vector<std::uint32_t>& tokens) {
    return embed_text(*state_->decoder, state_->config, state_->cache, tokens, Pooling::kMean);
}

std::uint32_t TextModel::width() const noexcept {
    return state_->config.width;
}

Result<void> TextModel::check_embed(const std::deque<std::vector<std::uint32_t>>& texts) const {
    for (const std::vector<std::uint32_t>& tokens : texts) {
        TRY(state_->check_tokens(tokens));
        if (tokens.empty() || tokens.size() > state_->capacity())
            return fail(ErrorCode::context_length_exceeded,
                        fmt::format("'input' has a text of {} tokens; from 1 to {} are taken",
                                    tokens.size(), state_->capacity()));
    }
    return {};
}

Result<std::vector<std::uint32_t>> TextModel::encode(std::string_view text) const {
    return state_->vocabulary->encode(text);
}

std::vector<GenerationEvent> TextModel::step() {
    State& s = *state_;
    std::vector<GenerationEvent> out;
    s.drop_cancelled(out);
    s.park();
    s.admit();
    if (s.running.empty()) return out;
    std::vector<Sequence*> sampled;
    const auto began = std::chrono::steady_clock::now();
    const std::vector<DecoderRow> rows = s.plan(sampled);
    if (rows.empty()) return out;
    const std::span<const float> logits = s.decoder->logits(rows);
    const bool decoding =
        std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.wanted; });
    s.learn(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
            rows.size() - sampled.size(), decoding);
    for (auto& sequence : s.running)
        s.cache.publish(sequence->cache, std::span(sequence->tokens).first(sequence->done));
    // Draws depend on their own text only; those that share a schema's masks take turns.
    const auto of_row = [&](std::size_t i) {
        return logits.subspan(i * s.config.vocab, s.config.vocab);
    };
    std::vector<SampledToken> drawn(sampled.size());
    s.pool->run(sampled.size(), [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t i = begin; i < end; ++i)
            if (!sampled[i]->json) drawn[i] = sampled[i]->sampler.next(of_row(i));
    });
    for (std::size_t i = 0; i < sampled.size(); ++i) {
        if (sampled[i]->json) {
            s.sample_json(*sampled[i], of_row(i), out);
        } else {
            s.take_token(*sampled[i], drawn[i], out);
        }
    }
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
    std::span<const float> logits;
    for (std::size_t first = sequence.reused(); first < tokens.size(); first += kChunkRows) {
        std::vector<DecoderRow> rows;
        for (std::size_t i = first; i < std::min(first + kChunkRows, tokens.size()); ++i)
            rows.push_back(
                {tokens[i], static_cast<std::uint32_t>(i), &sequence, i + 1 == tokens.size()});
        logits = s.decoder->logits(rows);
    }
    return std::vector<float>(logits.begin(), logits.end());
}

}  // namespace worker::model

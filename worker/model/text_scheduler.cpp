// SPDX-License-Identifier: Apache-2.0
#include "worker/model/text_scheduler.hpp"

#include "ledger/base/check.hpp"
#include "worker/model/cuda_decoder.hpp"
#include "worker/model/embeddings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

void insert_by_arrival(std::deque<std::unique_ptr<TextSequence>>& list,
                       std::unique_ptr<TextSequence> sequence) {
    const auto place = std::upper_bound(
        list.begin(), list.end(), sequence->arrival,
        [](std::uint64_t arrival, const auto& other) { return arrival < other->arrival; });
    list.insert(place, std::move(sequence));
}

/// Moves what `wanted` picks, keeping both lists in order.
template <typename Wanted>
void move_if(std::deque<std::unique_ptr<TextSequence>>& from,
             std::deque<std::unique_ptr<TextSequence>>& to, Wanted wanted) {
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
        TextSequence& next = *waiting.front();
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
    const auto held = [](const TextSequence& s) { return s.held; };
    move_if(waiting, parked, held);
    move_if(running, parked, held);
    // Its pages may be gone: it begins again where they end.
    move_if(parked, waiting,
            [](const TextSequence& s) { return !s.held && s.cache.capacity() == 0; });
    for (auto& sequence : parked)
        if (!sequence->held && running.size() < options.max_sequences)
            insert_by_arrival(running, std::move(sequence));
    std::erase(parked, nullptr);
}

/// Its keys and values go; the tokens stay and are run again.
void TextModel::State::give_up(TextSequence& sequence) {
    sequence.cache = KvSequence();
    sequence.done = 0;
    ++preemptions;
}

/// A page for the next token of a running sequence: from who is held, then from the youngest. False
/// when it was its own turn to give up.
bool TextModel::State::make_room(TextSequence& sequence) {
    while (!cache.grow(sequence.cache, sequence.tokens.size())) {
        const auto full = std::find_if(parked.rbegin(), parked.rend(),
                                       [](const auto& s) { return s->cache.capacity() > 0; });
        if (full != parked.rend()) {
            give_up(**full);
            continue;
        }
        auto youngest = std::move(running.back());
        running.pop_back();
        TextSequence& victim = *youngest;
        give_up(victim);
        insert_by_arrival(waiting, std::move(youngest));
        if (&victim == &sequence) return false;
    }
    return true;
}

void TextModel::State::finish(TextSequence& sequence, FinishReason reason,
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
std::vector<DecoderRow> TextModel::State::plan(std::vector<TextSequence*>& sampled) {
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
        TextSequence& s = *running[i];
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

void TextModel::State::sample_json(TextSequence& s, std::span<const float> logits,
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

void TextModel::State::take_token(TextSequence& s, const SampledToken& token,
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
    auto sequence = std::make_unique<TextSequence>(std::move(id), std::move(tokens), params,
                                                   vocabulary->stream());
    sequence->usage.prompt_tokens = prompt_tokens;
    TRY_ASSIGN(sequence->json, make_json(params.schema));
    sequence->tokens_max = wanted;
    sequence->arrival = arrivals++;
    waiting.push_back(std::move(sequence));
    return {};
}

}  // namespace worker::model

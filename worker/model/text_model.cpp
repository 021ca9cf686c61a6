// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/model/embeddings.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/text_scheduler.hpp"
#include "worker/model/token_draw.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

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
    std::vector<TextSequence*> sampled;
    const auto began = std::chrono::steady_clock::now();
    const std::vector<DecoderRow> rows = s.plan(sampled);
    if (rows.empty()) return out;
    std::vector<Sampler*> samplers;
    for (TextSequence* sequence : sampled)  // texts that share a schema's masks take turns
        samplers.push_back(sequence->json ? nullptr : &sequence->sampler);
    TokenDraw draw(std::move(samplers));
    const std::span<const Shortlist> lists = s.decoder->shorten(rows, draw.wishes());
    const bool decoding =
        std::any_of(rows.begin(), rows.end(), [](const auto& row) { return row.wanted; });
    s.learn(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count(),
            rows.size() - sampled.size(), decoding);
    for (auto& sequence : s.running)
        s.cache.publish(sequence->cache, std::span(sequence->tokens).first(sequence->done));
    // Draws depend on their own text only.
    const std::vector<SampledToken> drawn = draw.draw(*s.decoder, lists, *s.pool);
    for (std::size_t i = 0; i < sampled.size(); ++i) {
        if (sampled[i]->json) {
            s.sample_json(*sampled[i], s.decoder->row(i), out);
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

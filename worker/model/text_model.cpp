// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/model/checkpoint.hpp"
#include "worker/model/inference.hpp"
#include "worker/model/kernels.hpp"
#include "worker/model/layout.hpp"
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

using Floats = std::vector<float>;

struct Norm {
    Floats weight;
    Floats bias;
};
struct Linear {
    kernels::PackedMatrix weight;
    Floats bias;
};
struct Layer {
    Norm before_attention;
    Linear qkv;
    Linear attention_out;
    Norm before_mlp;
    Linear mlp_in;
    Linear mlp_out;
};

/// Shared and read-only after loading.
struct Weights {
    Floats tokens;     // [vocab][width]
    Floats positions;  // [context][width]
    std::vector<Layer> layers;
    Norm last;
    kernels::PackedMatrix head;  // the token table, transposed
};

/// Takes parameters in layout order.
class WeightReader {
 public:
    WeightReader(const std::vector<ParameterSlot>& layout, const Floats& values)
        : layout_(layout), values_(values) {}

    Floats vector() {
        const ParameterSlot& slot = layout_[next_++];
        const float* begin = values_.data() + slot.offset;
        return {begin, begin + slot.size};
    }
    Norm norm() {
        Norm out;
        out.weight = vector();
        out.bias = vector();
        return out;
    }
    Linear linear() {
        const ParameterSlot& slot = layout_[next_++];
        Linear out;
        out.weight = kernels::PackedMatrix::from_rows(values_.data() + slot.offset,
                                                      static_cast<std::size_t>(slot.shape[0]),
                                                      static_cast<std::size_t>(slot.shape[1]));
        out.bias = vector();
        return out;
    }

 private:
    const std::vector<ParameterSlot>& layout_;
    const Floats& values_;
    std::size_t next_ = 0;
};

Weights pack(const GptShape& gpt, const std::vector<ParameterSlot>& layout, const Floats& values) {
    WeightReader in(layout, values);
    Weights out;
    out.tokens = in.vector();
    out.positions = in.vector();
    for (std::uint32_t i = 0; i < gpt.depth; ++i) {
        Layer layer;
        layer.before_attention = in.norm();
        layer.qkv = in.linear();
        layer.attention_out = in.linear();
        layer.before_mlp = in.norm();
        layer.mlp_in = in.linear();
        layer.mlp_out = in.linear();
        out.layers.push_back(std::move(layer));
    }
    out.last = in.norm();
    out.head = kernels::PackedMatrix::from_columns(out.tokens.data(), gpt.width, gpt.vocab);
    return out;
}

/// Keys and values of one sequence, [layer][context][width] each.
struct Cache {
    explicit Cache(const GptShape& gpt)
        : keys(std::size_t{gpt.depth} * gpt.context * gpt.width), values(keys.size()) {}
    Floats keys;
    Floats values;
};

/// One token on its way through the model.
struct Row {
    std::uint32_t token;
    std::uint32_t position;
    Cache* cache;
    bool wants_logits;
};

class Forward {
 public:
    Forward(const GptShape& gpt, const Weights& weights) : gpt_(gpt), weights_(weights) {}

    /// Logits [wanted rows][vocab], in row order. Rows of one sequence come in ascending position.
    const Floats& run(std::span<const Row> rows) {
        const std::size_t count = rows.size();
        const std::size_t width = gpt_.width;
        x_.resize(count * width);
        normed_.resize(count * width);
        mixed_.resize(count * width);
        wide_.resize(count * 4 * width);
        scores_.resize(gpt_.context);
        for (std::size_t r = 0; r < count; ++r) {
            const float* token = weights_.tokens.data() + rows[r].token * width;
            const float* place = weights_.positions.data() + rows[r].position * width;
            for (std::size_t i = 0; i < width; ++i)
                x_[r * width + i] = token[i] + place[i];
        }
        for (std::size_t layer = 0; layer < weights_.layers.size(); ++layer)
            run_layer(layer, rows);
        std::size_t wanted = 0;
        for (std::size_t r = 0; r < count; ++r) {
            if (!rows[r].wants_logits) continue;
            kernels::layer_norm(x_.data() + r * width, weights_.last.weight.data(),
                                weights_.last.bias.data(), width, normed_.data() + wanted * width);
            ++wanted;
        }
        logits_.resize(wanted * gpt_.vocab);
        kernels::matmul(normed_.data(), wanted, weights_.head, nullptr, logits_.data());
        return logits_;
    }

 private:
    void normalise(const Norm& norm, std::size_t count) {
        for (std::size_t r = 0; r < count; ++r)
            kernels::layer_norm(x_.data() + r * gpt_.width, norm.weight.data(), norm.bias.data(),
                                gpt_.width, normed_.data() + r * gpt_.width);
    }

    void run_layer(std::size_t index, std::span<const Row> rows) {
        const Layer& layer = weights_.layers[index];
        const std::size_t count = rows.size();
        const std::size_t width = gpt_.width;
        normalise(layer.before_attention, count);
        kernels::matmul(normed_.data(), count, layer.qkv.weight, layer.qkv.bias.data(),
                        wide_.data());
        const std::size_t base = index * gpt_.context * width;
        for (std::size_t r = 0; r < count; ++r) {
            const float* qkv = wide_.data() + r * 3 * width;
            const std::size_t place = base + rows[r].position * width;
            std::copy(qkv + width, qkv + 2 * width, rows[r].cache->keys.data() + place);
            std::copy(qkv + 2 * width, qkv + 3 * width, rows[r].cache->values.data() + place);
        }
        const std::size_t head = width / gpt_.heads;
        for (std::size_t r = 0; r < count; ++r)
            for (std::size_t h = 0; h < gpt_.heads; ++h) {
                const kernels::AttentionView view{rows[r].cache->keys.data() + base + h * head,
                                                  rows[r].cache->values.data() + base + h * head,
                                                  width, rows[r].position + std::size_t{1}, head};
                kernels::attend(wide_.data() + r * 3 * width + h * head, view, scores_.data(),
                                mixed_.data() + r * width + h * head);
            }
        kernels::matmul(mixed_.data(), count, layer.attention_out.weight,
                        layer.attention_out.bias.data(), normed_.data());
        kernels::add(x_.data(), normed_.data(), count * width);
        normalise(layer.before_mlp, count);
        kernels::matmul(normed_.data(), count, layer.mlp_in.weight, layer.mlp_in.bias.data(),
                        wide_.data());
        kernels::gelu(wide_.data(), count * 4 * width);
        kernels::matmul(wide_.data(), count, layer.mlp_out.weight, layer.mlp_out.bias.data(),
                        normed_.data());
        kernels::add(x_.data(), normed_.data(), count * width);
    }

    const GptShape& gpt_;
    const Weights& weights_;
    Floats x_;
    Floats normed_;
    Floats mixed_;
    Floats wide_;
    Floats scores_;
    Floats logits_;
};

struct Sequence {
    Sequence(std::string id_in, std::vector<std::uint32_t> tokens_in, const SamplingParams& params)
        : id(std::move(id_in)),
          tokens(std::move(tokens_in)),
          sampler(params),
          text(params.stop),
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
    std::unique_ptr<Cache> cache;
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
    State(const GptShape& gpt_in, Weights weights_in, const Options& options_in)
        : gpt(gpt_in), weights(std::move(weights_in)), options(options_in), forward(gpt, weights) {}

    void admit();
    void drop_cancelled(std::vector<GenerationEvent>& out);
    std::vector<Row> plan(std::vector<Sequence*>& sampled);
    void take_token(Sequence& sequence, const SampledToken& token,
                    std::vector<GenerationEvent>& out);
    void finish(Sequence& sequence, FinishReason reason, std::vector<GenerationEvent>& out);

    GptShape gpt;
    Weights weights;
    Options options;
    Forward forward;
    std::deque<std::unique_ptr<Sequence>> waiting;
    std::vector<std::unique_ptr<Sequence>> running;
    std::vector<std::unique_ptr<Cache>> spare;
};

void TextModel::State::admit() {
    while (!waiting.empty() && running.size() < options.max_sequences) {
        auto sequence = std::move(waiting.front());
        waiting.pop_front();
        if (spare.empty()) {
            sequence->cache = std::make_unique<Cache>(gpt);
        } else {
            sequence->cache = std::move(spare.back());
            spare.pop_back();
        }
        running.push_back(std::move(sequence));
    }
}

void TextModel::State::finish(Sequence& sequence, FinishReason reason,
                              std::vector<GenerationEvent>& out) {
    sequence.usage.finish = reason;
    out.push_back({sequence.id, std::nullopt, sequence.usage});
    if (sequence.cache) spare.push_back(std::move(sequence.cache));
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

std::vector<Row> TextModel::State::plan(std::vector<Sequence*>& sampled) {
    std::vector<Row> rows;
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
            rows.push_back(
                {s.tokens[place], static_cast<std::uint32_t>(place), s.cache.get(), last});
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
    TextStream::Out text = s.text.push(static_cast<std::uint8_t>(token.token));
    const bool at_end = s.usage.completion_tokens >= s.tokens_max;
    if (at_end && !text.stopped) text.text += s.text.flush();
    if (!text.text.empty() || s.with_logprobs) {
        TokenPiece piece;
        piece.text = std::move(text.text);
        piece.index = static_cast<std::uint32_t>(s.usage.completion_tokens - 1);
        piece.logprob = token.logprob;
        piece.top = token.top;
        out.push_back({s.id, std::move(piece), std::nullopt});
    }
    if (text.stopped) {
        finish(s, FinishReason::kStop, out);
    } else if (at_end) {
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
    const auto layout = parameter_layout(spec);
    Floats values(layout.back().offset + layout.back().size);
    TRY(read_weights(weights, layout, values));
    return TextModel(std::make_unique<State>(*gpt, pack(*gpt, layout, values), options));
}

Result<void> TextModel::add(std::string id, std::string_view prompt, const SamplingParams& params) {
    State& s = *state_;
    TRY(check_sampling(params));
    if (s.waiting.size() >= s.options.max_waiting)
        return fail(ErrorCode::queue_full, "too many requests wait for this model");
    std::vector<std::uint32_t> tokens;
    for (const char c : prompt)
        tokens.push_back(static_cast<std::uint8_t>(c));
    const std::uint64_t prompt_tokens = tokens.size();
    if (tokens.empty()) tokens.push_back('\n');
    // The last token is sampled but never fed back, so it needs no place of its own.
    const std::uint64_t room =
        tokens.size() > s.gpt.context ? 0 : s.gpt.context - tokens.size() + 1;
    const std::uint64_t wanted = params.max_tokens > 0 ? params.max_tokens : room;
    if (room == 0 || wanted > room)
        return fail(ErrorCode::context_length_exceeded,
                    fmt::format("the model's context is {} tokens; the prompt has {} and {} were "
                                "asked for",
                                s.gpt.context, prompt_tokens, params.max_tokens));
    auto sequence = std::make_unique<Sequence>(std::move(id), std::move(tokens), params);
    sequence->usage.prompt_tokens = prompt_tokens;
    sequence->tokens_max = wanted;
    s.waiting.push_back(std::move(sequence));
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
    const std::vector<Row> rows = s.plan(sampled);
    const Floats& logits = s.forward.run(rows);
    for (std::size_t i = 0; i < sampled.size(); ++i) {
        const std::span<const float> row(logits.data() + i * s.gpt.vocab, s.gpt.vocab);
        s.take_token(*sampled[i], sampled[i]->sampler.next(row), out);
    }
    std::erase_if(s.running, [](const auto& sequence) { return !sequence->cache; });
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
    if (tokens.empty() || tokens.size() > s.gpt.context)
        return fail(ErrorCode::context_length_exceeded, "1 to context tokens");
    Cache cache(s.gpt);
    std::vector<Row> rows;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        if (tokens[i] >= s.gpt.vocab) return fail(ErrorCode::out_of_range, "no such token");
        rows.push_back({tokens[i], static_cast<std::uint32_t>(i), &cache, i + 1 == tokens.size()});
    }
    return s.forward.run(rows);
}

}  // namespace worker::model

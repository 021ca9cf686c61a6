// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder.hpp"

#include "ledger/base/check.hpp"
#include "worker/kernels/linear.hpp"
#include "worker/kernels/row_ops.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace worker::model {

Decoder::Decoder(std::shared_ptr<const DecoderModel> model, KvCache& cache, kernels::Pool& pool)
    : model_(std::move(model)), cache_(cache), pool_(pool) {
    MR_CHECK(cache.shape().heads == model_->config.kv_heads);
    MR_CHECK(cache.shape().head_size == model_->config.head_dim);
}

void Decoder::resize(std::size_t rows) {
    const DecoderConfig& c = model_->config;
    x_.resize(rows * c.width);
    normed_.resize(rows * c.width);
    qkv_.resize(rows * c.qkv_width());
    mixed_.resize(rows * c.query_width());
    attended_.resize(rows * c.width);
    inner_.resize(rows * c.ffn);
    if (c.mlp == MlpKind::kGated) up_.resize(rows * 2 * c.ffn);
    cosines_.resize(rows * model_->rope.size());
    sines_.resize(rows * model_->rope.size());
    attention_rows_.resize(rows);
}

void Decoder::embed(std::span<const DecoderRow> rows) {
    const DecoderConfig& c = model_->config;
    const std::size_t turned = model_->rope.size();
    for (std::size_t r = 0; r < rows.size(); ++r) {
        const DecoderRow& row = rows[r];
        MR_CHECK(row.token < c.vocab);
        MR_CHECK(row.position < c.context);
        float* x = x_.data() + r * c.width;
        model_->embedding.row(row.token, x);
        if (turned == 0) {
            kernels::add(x, model_->positions.data() + std::size_t{row.position} * c.width,
                         c.width);
        } else {
            model_->rope.angles(row.position, cosines_.data() + r * turned,
                                sines_.data() + r * turned);
        }
    }
}

/// normed_ = norm(x_).
void Decoder::normalise(const NormWeights& norm, std::size_t rows) {
    const DecoderConfig& c = model_->config;
    const auto epsilon = static_cast<float>(c.norm_epsilon);
    pool_.run(rows, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t r = begin; r < end; ++r) {
            const float* x = x_.data() + r * c.width;
            float* out = normed_.data() + r * c.width;
            if (c.norm == NormKind::kRmsNorm) {
                kernels::rms_norm(x, norm.weight.data(), c.width, epsilon, out);
            } else {
                kernels::layer_norm(x, norm.weight.data(), norm.bias.data(), c.width, epsilon, out);
            }
        }
    });
}

void Decoder::linear(const std::vector<float>& x, std::size_t rows, const LinearWeights& weights,
                     std::vector<float>& y) {
    kernels::linear(x.data(), rows, weights.weight,
                    weights.bias.empty() ? nullptr : weights.bias.data(), y.data(), pool_);
}

/// Norms and turns queries and keys, and puts keys and values into their pages.
void Decoder::turn_and_store(std::size_t layer, std::span<const DecoderRow> rows) {
    const DecoderConfig& c = model_->config;
    const LayerWeights& weights = model_->layers[layer];
    const std::size_t turned = model_->rope.size();
    const auto epsilon = static_cast<float>(c.norm_epsilon);
    const auto norm_heads = [&](float* x, std::size_t heads, const std::vector<float>& weight) {
        for (std::size_t h = 0; h < heads && !weight.empty(); ++h)
            kernels::rms_norm(x + h * c.head_dim, weight.data(), c.head_dim, epsilon,
                              x + h * c.head_dim);
    };
    for (std::size_t r = 0; r < rows.size(); ++r) {
        float* query = qkv_.data() + r * c.qkv_width();
        float* key = query + c.query_width();
        norm_heads(query, c.heads, weights.query_norm);
        norm_heads(key, c.kv_heads, weights.key_norm);
        // Keys follow queries, so their heads turn together.
        if (turned > 0)
            kernels::rope(query, c.heads + c.kv_heads, c.head_dim, c.rope.dims,
                          cosines_.data() + r * turned, sines_.data() + r * turned,
                          kernels::RopeForm::kHalves);
        const std::size_t position = rows[r].position;
        kernels::store_kv(cache_.shape(), key, key + c.kv_width(),
                          rows[r].sequence->page_of(position) + cache_.layer_offset(layer),
                          position % kernels::KvShape::kPageTokens);
    }
}

/// mixed_ = attention(qkv_).
void Decoder::attend(std::size_t layer, std::span<const DecoderRow> rows) {
    const DecoderConfig& c = model_->config;
    const std::size_t window = c.windows[layer];
    for (std::size_t r = 0; r < rows.size(); ++r) {
        kernels::AttentionRow& row = attention_rows_[r];
        row.query = qkv_.data() + r * c.qkv_width();
        row.out = mixed_.data() + r * c.query_width();
        row.pages = rows[r].sequence->pages();
        row.offset = cache_.layer_offset(layer);
        row.end = std::size_t{rows[r].position} + 1;
        row.begin = window > 0 && row.end > window ? row.end - window : 0;
    }
    kernels::attention(cache_.shape(), c.heads,
                       static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))),
                       std::span(attention_rows_).first(rows.size()), pool_);
}

/// normed_ = mlp(normed_).
void Decoder::run_mlp(const LayerWeights& layer, std::size_t rows) {
    const DecoderConfig& c = model_->config;
    const std::size_t ffn = c.ffn;
    const bool gated = c.mlp == MlpKind::kGated;
    linear(normed_, rows, layer.up, gated ? up_ : inner_);
    pool_.run(rows, [&](std::size_t begin, std::size_t end, std::size_t) {
        for (std::size_t r = begin; r < end; ++r) {
            float* inner = inner_.data() + r * ffn;
            float* gate = gated ? up_.data() + r * 2 * ffn : inner;
            if (c.activation == Activation::kSilu) {
                kernels::silu_mul(gate, gate + ffn, ffn, inner);
                continue;
            }
            if (c.activation == Activation::kGelu) {
                kernels::gelu(gate, ffn);
            } else {
                kernels::gelu_tanh(gate, ffn);
            }
            for (std::size_t i = 0; gated && i < ffn; ++i)
                inner[i] = gate[i] * gate[ffn + i];
        }
    });
    linear(inner_, rows, layer.down, normed_);
}

void Decoder::run_layer(std::size_t index, std::span<const DecoderRow>& rows) {
    const LayerWeights& layer = model_->layers[index];
    const std::size_t width = model_->config.width;
    normalise(layer.before_attention, rows.size());
    linear(normed_, rows.size(), layer.qkv, qkv_);
    turn_and_store(index, rows);
    // Of the last layer the other rows leave only keys and values.
    if (index + 1 == model_->layers.size()) rows = keep_wanted(rows);
    const std::size_t count = rows.size();
    attend(index, rows);
    linear(mixed_, count, layer.attention_out, attended_);
    const bool parallel = model_->config.residual == Residual::kParallel;
    if (parallel) normalise(layer.before_mlp, count);
    kernels::add(x_.data(), attended_.data(), count * width);
    if (!parallel) normalise(layer.before_mlp, count);
    run_mlp(layer, count);
    kernels::add(x_.data(), normed_.data(), count * width);
}

/// Moves the wanted rows of x_ and qkv_ to the front.
std::span<const DecoderRow> Decoder::keep_wanted(std::span<const DecoderRow> rows) {
    wanted_.clear();
    const auto move_up = [&](std::vector<float>& values, std::size_t from, std::size_t width) {
        std::copy_n(values.data() + from * width, width, values.data() + wanted_.size() * width);
    };
    for (std::size_t r = 0; r < rows.size(); ++r) {
        if (!rows[r].wanted) continue;
        if (r != wanted_.size()) {
            move_up(x_, r, model_->config.width);
            move_up(qkv_, r, model_->config.qkv_width());
        }
        wanted_.push_back(rows[r]);
    }
    return wanted_;
}

std::span<const Shortlist> Decoder::shorten(std::span<const DecoderRow> rows,
                                            std::span<const ShortlistWish> /*wishes*/) {
    static_cast<void>(logits(rows));
    return {};
}

std::span<const float> Decoder::row(std::size_t wanted) {
    const std::size_t vocab = model_->config.vocab;
    return std::span<const float>(logits_).subspan(wanted * vocab, vocab);
}

std::span<const float> Decoder::hidden(std::span<const DecoderRow> rows) {
    resize(rows.size());
    embed(rows);
    for (std::size_t layer = 0; layer < model_->layers.size(); ++layer)
        run_layer(layer, rows);
    normalise(model_->last, rows.size());
    return {normed_.data(), rows.size() * model_->config.width};
}

std::span<const float> Decoder::logits(std::span<const DecoderRow> rows) {
    const std::size_t wanted = hidden(rows).size() / model_->config.width;
    logits_.resize(wanted * model_->config.vocab);
    kernels::linear(normed_.data(), wanted, model_->head(), nullptr, logits_.data(), pool_);
    return logits_;
}

}  // namespace worker::model

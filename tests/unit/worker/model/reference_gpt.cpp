// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/reference_gpt.hpp"

#include <cmath>
#include <cstddef>

namespace worker::model::test {

namespace {

using Vector = std::vector<double>;

class Walk {
 public:
    explicit Walk(std::span<const double> parameters) : rest_(parameters) {}
    std::span<const double> take(std::size_t count) {
        const auto out = rest_.first(count);
        rest_ = rest_.subspan(count);
        return out;
    }

 private:
    std::span<const double> rest_;
};

void layer_norm(Vector& x, std::size_t width, Walk& walk) {
    const auto weight = walk.take(width);
    const auto bias = walk.take(width);
    for (std::size_t r = 0; r < x.size() / width; ++r) {
        double mean = 0;
        double variance = 0;
        for (std::size_t i = 0; i < width; ++i)
            mean += x[r * width + i] / static_cast<double>(width);
        for (std::size_t i = 0; i < width; ++i)
            variance +=
                (x[r * width + i] - mean) * (x[r * width + i] - mean) / static_cast<double>(width);
        for (std::size_t i = 0; i < width; ++i)
            x[r * width + i] =
                (x[r * width + i] - mean) / std::sqrt(variance + 1e-5) * weight[i] + bias[i];
    }
}

Vector linear(const Vector& x, std::size_t in, std::size_t out, Walk& walk) {
    const auto weight = walk.take(in * out);
    const auto bias = walk.take(out);
    const std::size_t rows = x.size() / in;
    Vector y(rows * out);
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t j = 0; j < out; ++j) {
            double sum = bias[j];
            for (std::size_t i = 0; i < in; ++i)
                sum += x[r * in + i] * weight[i * out + j];
            y[r * out + j] = sum;
        }
    return y;
}

Vector attention(const Vector& qkv, std::size_t tokens, std::size_t width, std::size_t heads) {
    const std::size_t size = width / heads;
    Vector out(tokens * width);
    for (std::size_t h = 0; h < heads; ++h)
        for (std::size_t t = 0; t < tokens; ++t) {
            Vector weight(t + 1);
            double total = 0;
            for (std::size_t u = 0; u <= t; ++u) {
                double dot = 0;
                for (std::size_t i = 0; i < size; ++i)
                    dot += qkv[t * 3 * width + h * size + i] *
                           qkv[u * 3 * width + width + h * size + i];
                weight[u] = std::exp(dot / std::sqrt(static_cast<double>(size)));
                total += weight[u];
            }
            for (std::size_t u = 0; u <= t; ++u)
                for (std::size_t i = 0; i < size; ++i)
                    out[t * width + h * size + i] +=
                        weight[u] / total * qkv[u * 3 * width + 2 * width + h * size + i];
        }
    return out;
}

}  // namespace

std::vector<double> reference_logits(const GptShape& gpt, std::span<const double> parameters,
                                     std::span<const std::uint8_t> tokens) {
    Walk walk(parameters);
    const std::size_t width = gpt.width;
    const auto table = walk.take(std::size_t{gpt.vocab} * width);
    const auto places = walk.take(std::size_t{gpt.context} * width);
    Vector x(tokens.size() * width);
    for (std::size_t t = 0; t < tokens.size(); ++t)
        for (std::size_t i = 0; i < width; ++i)
            x[t * width + i] = table[tokens[t] * width + i] + places[t * width + i];
    const auto add = [&x](const Vector& y) {
        for (std::size_t i = 0; i < x.size(); ++i)
            x[i] += y[i];
    };
    for (std::uint32_t layer = 0; layer < gpt.depth; ++layer) {
        Vector h = x;
        layer_norm(h, width, walk);
        const Vector qkv = linear(h, width, 3 * width, walk);
        add(linear(attention(qkv, tokens.size(), width, gpt.heads), width, width, walk));
        h = x;
        layer_norm(h, width, walk);
        Vector wide = linear(h, width, 4 * width, walk);
        for (double& v : wide)
            v = 0.5 * v * (1.0 + std::erf(v / std::sqrt(2.0)));
        add(linear(wide, 4 * width, width, walk));
    }
    layer_norm(x, width, walk);
    Vector logits(tokens.size() * gpt.vocab);
    for (std::size_t t = 0; t < tokens.size(); ++t)
        for (std::size_t v = 0; v < gpt.vocab; ++v)
            for (std::size_t i = 0; i < width; ++i)
                logits[t * gpt.vocab + v] += x[t * width + i] * table[v * width + i];
    return logits;
}

double reference_loss(const GptShape& gpt, std::span<const double> parameters,
                      ledger::base::ByteView row) {
    const std::size_t tokens = row.size() - 1;
    const auto logits = reference_logits(gpt, parameters, row.first(tokens));
    double loss = 0;
    for (std::size_t t = 0; t < tokens; ++t) {
        double total = 0;
        for (std::size_t v = 0; v < gpt.vocab; ++v)
            total += std::exp(logits[t * gpt.vocab + v]);
        loss += std::log(total) - logits[t * gpt.vocab + row[t + 1]];
    }
    return loss / static_cast<double>(tokens);
}

}  // namespace worker::model::test

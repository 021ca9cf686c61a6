// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/model/reference_networks.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <vector>

namespace worker::model::test {

namespace {

using Row = std::vector<double>;

/// Hands out the parameters in file order.
class Weights {
 public:
    explicit Weights(std::span<const double> all) : rest_(all) {}
    std::span<const double> take(std::size_t count) {
        const auto out = rest_.first(count);
        rest_ = rest_.subspan(count);
        return out;
    }
    void end() const {
        if (!rest_.empty()) std::abort();
    }

 private:
    std::span<const double> rest_;
};

Row linear(const Row& x, std::span<const double> weight, std::span<const double> bias) {
    Row out(bias.begin(), bias.end());
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t j = 0; j < out.size(); ++j)
            out[j] += x[i] * weight[i * out.size() + j];
    return out;
}

Row linear(const Row& x, Weights& w, std::size_t out) {
    const auto weight = w.take(x.size() * out);
    const auto bias = w.take(out);
    return linear(x, weight, bias);
}

/// Mean 0 and variance 1 over the values of `x`, in place.
void normalise(Row& x) {
    double mean = 0;
    for (const double v : x)
        mean += v / static_cast<double>(x.size());
    double variance = 0;
    for (const double v : x)
        variance += (v - mean) * (v - mean) / static_cast<double>(x.size());
    for (double& v : x)
        v = (v - mean) / std::sqrt(variance + 1e-5);
}

Row softmax(Row x) {
    const double most = *std::max_element(x.begin(), x.end());
    double total = 0;
    for (double& v : x)
        total += v = std::exp(v - most);
    for (double& v : x)
        v /= total;
    return x;
}

struct Planes {
    std::size_t channels;
    std::size_t height;
    std::size_t width;
    Row values;
    double at(std::size_t c, std::ptrdiff_t y, std::ptrdiff_t x) const {
        if (y < 0 || x < 0 || y >= static_cast<std::ptrdiff_t>(height) ||
            x >= static_cast<std::ptrdiff_t>(width))
            return 0;
        return values[(c * height + static_cast<std::size_t>(y)) * width +
                      static_cast<std::size_t>(x)];
    }
};

Planes conv(const Planes& in, Weights& w, std::size_t channels, std::size_t side,
            std::size_t stride) {
    const auto weight = w.take(channels * in.channels * side * side);
    const auto pad = static_cast<std::ptrdiff_t>(side / 2);
    Planes out{channels, (in.height + stride - 1) / stride, (in.width + stride - 1) / stride, {}};
    for (std::size_t o = 0; o < channels; ++o)
        for (std::size_t y = 0; y < out.height; ++y)
            for (std::size_t x = 0; x < out.width; ++x) {
                double sum = 0;
                for (std::size_t c = 0; c < in.channels; ++c)
                    for (std::size_t ky = 0; ky < side; ++ky)
                        for (std::size_t kx = 0; kx < side; ++kx)
                            sum += weight[((o * in.channels + c) * side + ky) * side + kx] *
                                   in.at(c, static_cast<std::ptrdiff_t>(y * stride + ky) - pad,
                                         static_cast<std::ptrdiff_t>(x * stride + kx) - pad);
                out.values.push_back(sum);
            }
    return out;
}

void group_norm(Planes& x, Weights& w) {
    const auto weight = w.take(x.channels);
    const auto bias = w.take(x.channels);
    const std::size_t plane = x.height * x.width;
    for (std::size_t group = 0; group < x.channels / 8; ++group) {
        const auto begin = x.values.begin() + static_cast<std::ptrdiff_t>(group * 8 * plane);
        Row part(begin, begin + static_cast<std::ptrdiff_t>(8 * plane));
        normalise(part);
        for (std::size_t i = 0; i < part.size(); ++i) {
            const std::size_t c = group * 8 + i / plane;
            x.values[c * plane + i % plane] = part[i] * weight[c] + bias[c];
        }
    }
}

void relu(Row& x) {
    for (double& v : x)
        v = std::max(v, 0.0);
}

Row logits(const ResnetShape& net, const Row& pixels, Weights& w) {
    Planes x{net.image.colors, net.image.height, net.image.width, pixels};
    x = conv(x, w, net.channels, 3, 1);
    group_norm(x, w);
    relu(x.values);
    for (std::size_t stage = 0; stage < net.stages; ++stage)
        for (std::size_t block = 0; block < net.blocks; ++block) {
            const bool halves = stage > 0 && block == 0;
            const std::size_t channels = std::size_t{net.channels} << stage;
            Planes y = conv(x, w, channels, 3, halves ? 2 : 1);
            group_norm(y, w);
            relu(y.values);
            y = conv(y, w, channels, 3, 1);
            group_norm(y, w);
            if (halves) {
                x = conv(x, w, channels, 1, 2);
                group_norm(x, w);
            }
            for (std::size_t i = 0; i < y.values.size(); ++i)
                x.values[i] += y.values[i];
            relu(x.values);
        }
    Row mean(x.channels);
    const std::size_t plane = x.height * x.width;
    for (std::size_t i = 0; i < x.values.size(); ++i)
        mean[i / plane] += x.values[i] / static_cast<double>(plane);
    return linear(mean, w, net.image.classes);
}

Row scaled_norm(Row x, std::span<const double> weight, std::span<const double> bias) {
    normalise(x);
    for (std::size_t i = 0; i < x.size(); ++i)
        x[i] = x[i] * weight[i] + bias[i];
    return x;
}

/// Every token sees every token. qkv: [tokens][3·dim].
std::vector<Row> attend(const std::vector<Row>& qkv, std::size_t dim, std::size_t heads) {
    const std::size_t head = dim / heads;
    std::vector<Row> out(qkv.size(), Row(dim));
    for (std::size_t t = 0; t < qkv.size(); ++t)
        for (std::size_t h = 0; h < heads; ++h) {
            Row scores(qkv.size());
            for (std::size_t u = 0; u < qkv.size(); ++u)
                for (std::size_t i = h * head; i < (h + 1) * head; ++i)
                    scores[u] += qkv[t][i] * qkv[u][dim + i] / std::sqrt(static_cast<double>(head));
            scores = softmax(scores);
            for (std::size_t u = 0; u < qkv.size(); ++u)
                for (std::size_t i = h * head; i < (h + 1) * head; ++i)
                    out[t][i] += scores[u] * qkv[u][2 * dim + i];
        }
    return out;
}

/// `in` → linear → `out` for each token, with the same weights.
std::vector<Row> linear_all(const std::vector<Row>& x, Weights& w, std::size_t out) {
    const auto weight = w.take(x.front().size() * out);
    const auto bias = w.take(out);
    std::vector<Row> result;
    for (const Row& row : x)
        result.push_back(linear(row, weight, bias));
    return result;
}

std::vector<Row> norm_all(const std::vector<Row>& x, Weights& w) {
    const auto weight = w.take(x.front().size());
    const auto bias = w.take(x.front().size());
    std::vector<Row> result;
    for (const Row& row : x)
        result.push_back(scaled_norm(row, weight, bias));
    return result;
}

void add_all(std::vector<Row>& to, const std::vector<Row>& from) {
    for (std::size_t t = 0; t < to.size(); ++t)
        for (std::size_t i = 0; i < to[t].size(); ++i)
            to[t][i] += from[t][i];
}

Row logits(const VitShape& vit, const Row& pixels, Weights& w) {
    std::vector<Row> x;
    for (std::size_t py = 0; py < vit.image.height; py += vit.patch)
        for (std::size_t px = 0; px < vit.image.width; px += vit.patch) {
            Row patch;
            for (std::size_t c = 0; c < vit.image.colors; ++c)
                for (std::size_t y = py; y < py + vit.patch; ++y)
                    for (std::size_t i = px; i < px + vit.patch; ++i)
                        patch.push_back(pixels[(c * vit.image.height + y) * vit.image.width + i]);
            x.push_back(patch);
        }
    x = linear_all(x, w, vit.dim);
    const auto position = w.take(x.size() * vit.dim);
    for (std::size_t t = 0; t < x.size(); ++t)
        for (std::size_t i = 0; i < vit.dim; ++i)
            x[t][i] += position[t * vit.dim + i];
    for (std::size_t layer = 0; layer < vit.depth; ++layer) {
        const auto qkv = linear_all(norm_all(x, w), w, std::size_t{3} * vit.dim);
        add_all(x, linear_all(attend(qkv, vit.dim, vit.heads), w, vit.dim));
        auto hidden = linear_all(norm_all(x, w), w, std::size_t{4} * vit.dim);
        for (Row& row : hidden)
            for (double& v : row)
                v = 0.5 * v * (1.0 + std::erf(v / std::sqrt(2.0)));
        add_all(x, linear_all(hidden, w, vit.dim));
    }
    x = norm_all(x, w);
    Row mean(vit.dim);
    for (const Row& row : x)
        for (std::size_t i = 0; i < mean.size(); ++i)
            mean[i] += row[i] / static_cast<double>(x.size());
    return linear(mean, w, vit.image.classes);
}

Row logits(const MlpShape& mlp, const Row& pixels, Weights& w) {
    Row x = pixels;
    for (std::size_t i = 0; i < mlp.depth; ++i) {
        x = linear(x, w, mlp.hidden);
        relu(x);
    }
    return linear(x, w, mlp.image.classes);
}

}  // namespace

double reference_image_loss(const ModelSpec& model, std::span<const double> parameters,
                            std::span<const std::uint8_t> pixels, std::uint32_t label) {
    Row input;
    for (const std::uint8_t pixel : pixels)
        input.push_back(static_cast<double>(pixel) / 127.5 - 1.0);
    Weights weights(parameters);
    Row out;
    if (const auto* net = std::get_if<ResnetShape>(&model)) out = logits(*net, input, weights);
    if (const auto* vit = std::get_if<VitShape>(&model)) out = logits(*vit, input, weights);
    if (const auto* mlp = std::get_if<MlpShape>(&model)) out = logits(*mlp, input, weights);
    weights.end();
    return -std::log(softmax(out)[label]);
}

}  // namespace worker::model::test

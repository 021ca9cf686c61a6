// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/row_ops.hpp"

#include <algorithm>
#include <cmath>

namespace worker::kernels {

void rms_norm(const float* x, const float* weight, std::size_t size, float epsilon, float* out) {
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i)
        squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const auto scale = static_cast<float>(
        1.0 / std::sqrt(squares / static_cast<double>(size) + static_cast<double>(epsilon)));
    for (std::size_t i = 0; i < size; ++i)
        out[i] = x[i] * scale * weight[i];
}

void layer_norm(const float* x, const float* weight, const float* bias, std::size_t size,
                float epsilon, float* out) {
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i)
        sum += static_cast<double>(x[i]);
    const double mean = sum / static_cast<double>(size);
    double squares = 0;
    for (std::size_t i = 0; i < size; ++i) {
        const double d = static_cast<double>(x[i]) - mean;
        squares += d * d;
    }
    const auto scale = static_cast<float>(
        1.0 / std::sqrt(squares / static_cast<double>(size) + static_cast<double>(epsilon)));
    const auto centre = static_cast<float>(mean);
    for (std::size_t i = 0; i < size; ++i) {
        const float value = (x[i] - centre) * scale * weight[i];
        out[i] = bias != nullptr ? value + bias[i] : value;
    }
}

void add(float* to, const float* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        to[i] += x[i];
}

void silu_mul(const float* gate, const float* up, std::size_t count, float* out) {
    for (std::size_t i = 0; i < count; ++i)
        out[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void gelu(float* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        x[i] = 0.5F * x[i] * (1.0F + std::erf(x[i] * 0.70710678118654752F));
}

void gelu_tanh(float* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i)
        x[i] = 0.5F * x[i] *
               (1.0F + std::tanh(0.79788456080286536F * (x[i] + 0.044715F * x[i] * x[i] * x[i])));
}

void softmax(float* x, std::size_t count) {
    float highest = -INFINITY;
    for (std::size_t i = 0; i < count; ++i)
        highest = std::max(highest, x[i]);
    float total = 0;
    for (std::size_t i = 0; i < count; ++i) {
        x[i] = std::exp(x[i] - highest);
        total += x[i];
    }
    for (std::size_t i = 0; i < count; ++i)
        x[i] /= total;
}

void rope_angles(std::size_t position, std::span<const double> frequencies, double magnitude,
                 float* cosines, float* sines) {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
        const double angle = static_cast<double>(position) * frequencies[i];
        cosines[i] = static_cast<float>(magnitude * std::cos(angle));
        sines[i] = static_cast<float>(magnitude * std::sin(angle));
    }
}

void rope(float* x, std::size_t heads, std::size_t head_size, std::size_t rotary,
          const float* cosines, const float* sines, RopeForm form) {
    const std::size_t half = rotary / 2;
    const std::size_t step = form == RopeForm::kHalves ? 1 : 2;
    const std::size_t apart = form == RopeForm::kHalves ? half : 1;
    for (std::size_t h = 0; h < heads; ++h) {
        float* head = x + h * head_size;
        for (std::size_t i = 0; i < half; ++i) {
            const float a = head[i * step];
            const float b = head[i * step + apart];
            head[i * step] = a * cosines[i] - b * sines[i];
            head[i * step + apart] = b * cosines[i] + a * sines[i];
        }
    }
}

}  // namespace worker::kernels

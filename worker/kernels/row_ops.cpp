// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/row_ops.hpp"

#include "worker/kernels/kernel_table.hpp"

#include <cmath>

namespace worker::kernels {

void rms_norm(const float* x, const float* weight, std::size_t size, float epsilon, float* out) {
    kernels().rms_norm(x, weight, size, epsilon, out);
}

void layer_norm(const float* x, const float* weight, const float* bias, std::size_t size,
                float epsilon, float* out) {
    kernels().layer_norm(x, weight, bias, size, epsilon, out);
}

void add(float* to, const float* x, std::size_t count) {
    kernels().add(to, x, count);
}

void silu_mul(const float* gate, const float* up, std::size_t count, float* out) {
    kernels().silu_mul(gate, up, count, out);
}

void gelu(float* x, std::size_t count) {
    kernels().gelu(x, count, x);
}

void gelu(const float* x, std::size_t count, float* out) {
    kernels().gelu(x, count, out);
}

void gelu_gradient(const float* x, const float* gradient, std::size_t count, float* out) {
    kernels().gelu_gradient(x, gradient, count, out);
}

void gelu_tanh(float* x, std::size_t count) {
    kernels().gelu_tanh(x, count);
}

void softmax(float* x, std::size_t count) {
    kernels().softmax(x, count);
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

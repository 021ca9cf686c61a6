// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/demo_train/bare_loop.hpp"

#include "tests/bench/cpu.hpp"

#include <ATen/autocast_mode.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

namespace bench {

namespace nn = torch::nn;
using worker::model::GptShape;
using worker::model::Precision;

namespace {

struct BlockImpl : nn::Module {
    BlockImpl(std::int64_t width, std::int64_t heads_in)
        : heads(heads_in),
          ln_1(register_module("ln_1", nn::LayerNorm(nn::LayerNormOptions({width})))),
          qkv(register_module("qkv", nn::Linear(width, 3 * width))),
          out(register_module("out", nn::Linear(width, width))),
          ln_2(register_module("ln_2", nn::LayerNorm(nn::LayerNormOptions({width})))),
          fc(register_module("fc", nn::Linear(width, 4 * width))),
          proj(register_module("proj", nn::Linear(4 * width, width))) {}

    torch::Tensor forward(torch::Tensor x, const torch::Tensor& mask) {
        const auto b = x.size(0);
        const auto t = x.size(1);
        const auto w = x.size(2);
        const auto parts = qkv(ln_1(x)).view({b, t, 3, heads, w / heads}).permute({2, 0, 3, 1, 4});
        const auto part = [&](int i) { return parts[i].reshape({b * heads, t, w / heads}); };
        const double scale = 1.0 / std::sqrt(static_cast<double>(w / heads));
        const auto scores = torch::baddbmm(mask.to(parts.scalar_type()), part(0),
                                           part(1).transpose(1, 2), 1.0, scale);
        const auto mixed = torch::bmm(torch::softmax(scores, -1), part(2));
        x = x + out(mixed.view({b, heads, t, w / heads}).transpose(1, 2).reshape({b, t, w}));
        return x + proj(torch::gelu(fc(ln_2(x))));
    }

    std::int64_t heads;
    nn::LayerNorm ln_1;
    nn::Linear qkv;
    nn::Linear out;
    nn::LayerNorm ln_2;
    nn::Linear fc;
    nn::Linear proj;
};
TORCH_MODULE(Block);

struct GptImpl : nn::Module {
    explicit GptImpl(const GptShape& gpt)
        : wte(register_module("wte", nn::Embedding(gpt.vocab, gpt.width))),
          wpe(register_module("wpe", nn::Embedding(gpt.context, gpt.width))),
          ln_f(register_module("ln_f", nn::LayerNorm(nn::LayerNormOptions({gpt.width})))) {
        for (std::uint32_t i = 0; i < gpt.depth; ++i)
            blocks.push_back(register_module("h" + std::to_string(i), Block(gpt.width, gpt.heads)));
        const torch::NoGradGuard no_grad;
        for (auto& p : parameters())
            if (p.dim() > 1) p.normal_(0, 0.02);
        mask = torch::full({gpt.context, gpt.context}, -std::numeric_limits<float>::infinity())
                   .triu_(1);
    }

    torch::Tensor forward(const torch::Tensor& input) {
        auto x = wte(input) + wpe->weight;
        for (auto& block : blocks)
            x = block(x, mask);
        return torch::matmul(ln_f(x), wte->weight.t());
    }

    nn::Embedding wte;
    nn::Embedding wpe;
    std::vector<Block> blocks;
    nn::LayerNorm ln_f;
    torch::Tensor mask;
};
TORCH_MODULE(Gpt);

double rate_at(const worker::model::TrainSpec& spec, std::uint64_t step) {
    if (step < spec.warmup_steps)
        return spec.learning_rate * static_cast<double>(step + 1) /
               static_cast<double>(spec.warmup_steps);
    const double done = static_cast<double>(step - spec.warmup_steps) /
                        static_cast<double>(spec.steps - spec.warmup_steps);
    return spec.learning_rate * (0.1 + 0.45 * (1.0 + std::cos(std::numbers::pi * done)));
}

}  // namespace

BareResult run_bare(const worker::model::TrainSpec& spec, const std::string& text, int threads) {
    torch::set_num_threads(threads);
    const auto& shape = std::get<GptShape>(spec.model);
    Gpt model(shape);
    torch::optim::AdamW optimizer(model->parameters(),
                                  torch::optim::AdamWOptions(spec.learning_rate)
                                      .betas({0.9, 0.95})
                                      .weight_decay(spec.weight_decay));
    const std::int64_t rows = spec.batch;
    const std::int64_t tokens = shape.context;
    auto input = torch::empty({rows, tokens}, torch::kLong);
    auto target = torch::empty({rows, tokens}, torch::kLong);
    std::mt19937_64 random(spec.seed);
    std::uniform_int_distribution<std::size_t> place(0, text.size() - shape.context - 1);
    if (spec.precision == Precision::kBf16) {
        at::autocast::set_cpu_enabled(true);
        at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
    }
    double loss_value = 0;
    const double cpu_begin = process_cpu_seconds();
    const auto begin = std::chrono::steady_clock::now();
    for (std::uint64_t step = 0; step < spec.steps; ++step) {
        for (std::int64_t row = 0; row < rows; ++row) {
            const std::size_t from = place(random);
            for (std::int64_t i = 0; i < tokens; ++i) {
                const auto at = from + static_cast<std::size_t>(i);
                input.data_ptr<std::int64_t>()[row * tokens + i] =
                    static_cast<unsigned char>(text[at]);
                target.data_ptr<std::int64_t>()[row * tokens + i] =
                    static_cast<unsigned char>(text[at + 1]);
            }
        }
        optimizer.zero_grad();
        const auto logits = model(input).view({rows * tokens, -1}).to(torch::kFloat);
        const auto loss = torch::nn::functional::cross_entropy(logits, target.view(-1));
        loss.backward();
        nn::utils::clip_grad_norm_(model->parameters(), 1.0);
        for (auto& group : optimizer.param_groups())
            static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate_at(spec, step));
        optimizer.step();
        if (spec.precision == Precision::kBf16) at::autocast::clear_cache();
        loss_value = loss.item<double>();
    }
    const auto end = std::chrono::steady_clock::now();
    return {std::chrono::duration<double>(end - begin).count(), process_cpu_seconds() - cpu_begin,
            loss_value};
}

}  // namespace bench

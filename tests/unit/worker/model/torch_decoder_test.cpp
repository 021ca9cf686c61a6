// SPDX-License-Identifier: Apache-2.0
// The forward pass with gradients against the one that serves, and its gradients against
// differences.
#include "worker/model/torch_decoder.hpp"

#include "tests/unit/worker/model/decoder_cases.hpp"
#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "tests/unit/worker/model/reference_decoder.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <doctest/doctest.h>

#include <string>

using namespace worker::model;
using namespace worker::model::test;
using at::Tensor;
namespace kernels = worker::kernels;

namespace {

constexpr std::uint64_t kSeed = 20261126;
const c10::Device kCpu(c10::kCPU);

std::string prefix_of(const RandomModel& model) {
    return model.tensors.count("transformer.wte.weight") > 0 ? "transformer." : "";
}

/// The config with a decoder for it and its weights, as `type`.
struct Torch {
    Torch(const RandomModel& model, std::uint32_t length, at::ScalarType type)
        : config(*parse_hf_config(model.config)),
          layout(config, prefix_of(model)),
          decoder(config, layout, length, kCpu) {
        for (const ParameterSlot& slot : layout.slots) {
            const auto found = model.tensors.find(slot.name);
            REQUIRE_MESSAGE(found != model.tensors.end(), slot.name);
            REQUIRE(found->second.shape == slot.shape);
            weights.push_back(at::from_blob(const_cast<float*>(found->second.values.data()),
                                            slot.shape, at::kFloat)
                                  .to(type, false, true));
        }
        REQUIRE(layout.slots.size() == model.tensors.size());
    }
    DecoderConfig config;
    DecoderLayout layout;
    TorchDecoder decoder;
    std::vector<Tensor> weights;
};

/// Texts one after another in rows of `length`; what remains of a row is a text of its own.
struct Packed {
    Packed(const std::vector<std::vector<Tokens>>& rows, std::int64_t length)
        : tokens(at::zeros({static_cast<std::int64_t>(rows.size()), length}, at::kLong)),
          positions(at::zeros_like(tokens)),
          segments(at::zeros_like(tokens)) {
        std::vector<std::int64_t> places;
        for (std::size_t r = 0; r < rows.size(); ++r) {
            std::int64_t column = 0;
            for (std::size_t s = 0; s < rows[r].size(); ++s)
                for (std::size_t i = 0; i < rows[r][s].size(); ++i, ++column) {
                    const auto row = static_cast<std::int64_t>(r);
                    tokens[row][column] = static_cast<std::int64_t>(rows[r][s][i]);
                    positions[row][column] = static_cast<std::int64_t>(i);
                    segments[row][column] = static_cast<std::int64_t>(s + 1);
                    places.push_back(row * length + column);
                }
        }
        picked = at::tensor(places, at::kLong);
    }
    [[nodiscard]] TokenRows rows() const { return {tokens, positions, segments}; }
    Tensor tokens;
    Tensor positions;
    Tensor segments;
    Tensor picked;
};

double relative(const Tensor& got, const Tensor& expected) {
    return (got.to(at::kDouble) - expected).abs().max().item<double>() /
           expected.abs().max().item<double>();
}

Tensor loss_of(const Torch& torch, const LinearAdapters* adapters, const Packed& batch) {
    const Tensor logits = torch.decoder.logits(torch.weights, adapters, batch.rows(), batch.picked);
    const Tensor targets = at::arange(logits.size(0), at::kLong).remainder(97);
    return at::cross_entropy_loss(logits, targets);
}

/// Central differences of the loss at some numbers of each tensor.
void check_gradients(const Torch& torch, const LinearAdapters* adapters, const Packed& batch,
                     const std::vector<Tensor>& tensors) {
    for (const Tensor& tensor : tensors)
        const_cast<Tensor&>(tensor).requires_grad_(true);
    loss_of(torch, adapters, batch).backward();
    const c10::NoGradGuard no_grad;
    constexpr double kStep = 1e-5;
    for (const Tensor& tensor : tensors) {
        REQUIRE(tensor.grad().defined());
        double* values = tensor.data_ptr<double>();
        const Tensor gradient = tensor.grad().contiguous();
        for (std::int64_t i = 0; i < tensor.numel(); i += tensor.numel() / 3 + 1) {
            const double kept = values[i];
            values[i] = kept + kStep;
            const double above = loss_of(torch, adapters, batch).item<double>();
            values[i] = kept - kStep;
            const double below = loss_of(torch, adapters, batch).item<double>();
            values[i] = kept;
            const double expected = (above - below) / (2 * kStep);
            CHECK(gradient.data_ptr<double>()[i] ==
                  doctest::Approx(expected).epsilon(1e-5).scale(1e-3));
        }
    }
}

}  // namespace

TEST_CASE("torch_decoder: the logits of the decoder that serves, for every family and feature") {
    MESSAGE("seed " << kSeed);
    const Tokens tokens = some_tokens(45, 97);
    double worst = 0;
    for (const Case& c : cases()) {
        CAPTURE(c.name);
        const RandomModel model = make_random_model(c.config.dump(), kSeed, c.dtype);
        const Torch torch(model, 45, at::kFloat);
        const Packed batch({{tokens}}, 45);
        const Tensor logits =
            torch.decoder.logits(torch.weights, nullptr, batch.rows(), batch.picked).contiguous();
        Running running(model, c.dtype);
        const Floats served = running.run(tokens, tokens.size());
        const std::vector<double> wide(served.begin(), served.end());
        const float* begin = logits.data_ptr<float>();
        const double error = worst_error(Floats(begin, begin + logits.numel()), wide);
        CHECK(error < 1e-4);
        worst = std::max(worst, error);
    }
    MESSAGE("worst relative difference " << worst);
}

TEST_CASE("torch_decoder: texts of one row do not see each other") {
    for (const json& config : {mistral(), qwen3(), gpt2(), neox()}) {
        const RandomModel model = make_random_model(config.dump(), kSeed);
        const Torch torch(model, 40, at::kDouble);
        const Tokens a = some_tokens(17, 97, 3);
        const Tokens b = some_tokens(20, 97, 50);
        const Tokens c = some_tokens(33, 97, 9);
        const Packed packed({{a, b}, {c}}, 40);
        const Tensor got =
            torch.decoder.logits(torch.weights, nullptr, packed.rows(), packed.picked);
        std::int64_t first = 0;
        for (const Tokens& one : {a, b, c}) {
            const auto count = static_cast<std::int64_t>(one.size());
            const auto expected = reference_decoder(model, one);
            const Tensor alone =
                at::from_blob(const_cast<double*>(expected.data()), {count, 97}, at::kDouble);
            // Angles are fp32 where a model is served, so they are here.
            CHECK(relative(got.narrow(0, first, count), alone) < 1e-5);
            first += count;
        }
    }
}

TEST_CASE("torch_decoder: bf16 products stay close") {
    for (const json& config : {llama(), gpt2(), neox()}) {
        const RandomModel model = make_random_model(config.dump(), kSeed, Dtype::kBf16, 0.7);
        const Tokens tokens = some_tokens(30, 97);
        const Packed batch({{tokens}}, 30);
        const Torch exact(model, 30, at::kDouble);
        const Torch rounded(model, 30, at::kBFloat16);
        const Tensor expected =
            exact.decoder.logits(exact.weights, nullptr, batch.rows(), batch.picked);
        const Tensor got =
            rounded.decoder.logits(rounded.weights, nullptr, batch.rows(), batch.picked);
        CHECK(got.scalar_type() == at::kFloat);
        CHECK(at::cosine_similarity(got.to(at::kDouble).flatten(), expected.flatten(), 0)
                  .item<double>() > 0.999);
    }
}

TEST_CASE("torch_decoder: gradients are the slopes of the loss") {
    const json small = {{"hidden_size", 16}, {"intermediate_size", 12}};
    for (const json& config :
         {with(llama(), small), with(qwen3(), with(small, {{"attention_bias", true}})),
          with(mistral(), small), with(gpt2(), {{"n_embd", 16}}),
          with(neox(), with(small, {{"rotary_pct", 0.5}}))}) {
        CAPTURE(config.dump());
        const Torch torch(make_random_model(config.dump(), kSeed), 12, at::kDouble);
        const Packed batch({{some_tokens(5, 97, 3), some_tokens(6, 97, 8)}, {some_tokens(12, 97)}},
                           12);
        check_gradients(torch, nullptr, batch, torch.weights);
    }
}

TEST_CASE("torch_decoder: adapters add B·A·x, and only they move") {
    for (const json& config : {llama(), gpt2(), neox()}) {
        CAPTURE(config.dump());
        Torch torch(make_random_model(config.dump(), kSeed), 12, at::kDouble);
        const Packed batch({{some_tokens(12, 97)}}, 12);
        std::vector<Tensor> tensors;
        std::vector<std::size_t> places;
        std::vector<Tensor> merged = torch.weights;
        for (std::size_t i = 0; i < torch.layout.linears.size(); ++i) {
            const LinearPlace& linear = torch.layout.linears[i];
            const bool skipped = i % 3 == 1;
            places.push_back(skipped ? DecoderLayout::kNoSlot : tensors.size());
            if (skipped) continue;
            const auto wave = [&](std::int64_t rows, std::int64_t columns, double step) {
                return (at::arange(rows * columns, at::kDouble) * step)
                    .sin()
                    .mul(0.2)
                    .view({rows, columns});
            };
            tensors.push_back(wave(3, linear.in, 0.7));
            tensors.push_back(wave(linear.out, 3, 1.3));
            const Tensor sum = at::mm(tensors.back(), tensors[tensors.size() - 2]) * 0.5;
            merged[linear.weight] = merged[linear.weight] + (torch.layout.in_out ? sum.t() : sum);
        }
        const LinearAdapters adapters{tensors, places, 0.5};
        const Tensor got =
            torch.decoder.logits(torch.weights, &adapters, batch.rows(), batch.picked);
        const Tensor plain =
            torch.decoder.logits(torch.weights, nullptr, batch.rows(), batch.picked);
        const Tensor expected = torch.decoder.logits(merged, nullptr, batch.rows(), batch.picked);
        CHECK(relative(got, expected) < 1e-12);
        CHECK(relative(plain, expected) > 1e-3);
        check_gradients(torch, &adapters, batch, tensors);
        CHECK_FALSE(torch.weights[0].grad().defined());
    }
}

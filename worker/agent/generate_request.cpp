// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/generate_request.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace worker::agent {

using ledger::base::ErrorCode;
using ledger::base::fail;
namespace wire = marketplace::wire;

namespace {

Result<double> parse_decimal(std::string_view text, const char* name) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size())
        return fail(ErrorCode::invalid_field, std::string(name) + " is no decimal number");
    return value;
}

/// An empty text leaves the value as it is.
Result<void> read_decimal(std::string_view text, const char* name, double& out) {
    if (text.empty()) return {};
    TRY_ASSIGN(out, parse_decimal(text, name));
    return {};
}

Result<model::SamplingParams> to_params(const wire::Sampling& from) {
    constexpr std::uint64_t kTokensMax = std::uint64_t{1} << 20;
    constexpr std::uint64_t kU32Max = std::numeric_limits<std::uint32_t>::max();
    model::SamplingParams out;
    out.max_tokens = static_cast<std::uint32_t>(std::min(from.max_tokens, kTokensMax));
    out.top_k = static_cast<std::uint32_t>(std::min(from.top_k, kU32Max));
    TRY(read_decimal(from.temperature, "temperature", out.temperature));
    TRY(read_decimal(from.top_p, "top_p", out.top_p));
    TRY(read_decimal(from.min_p, "min_p", out.min_p));
    TRY(read_decimal(from.presence_penalty, "presence_penalty", out.presence_penalty));
    TRY(read_decimal(from.frequency_penalty, "frequency_penalty", out.frequency_penalty));
    TRY(read_decimal(from.repetition_penalty, "repetition_penalty", out.repetition_penalty));
    for (const wire::TokenBias& one : from.logit_bias) {
        if (one.token > kU32Max)
            return fail(ErrorCode::out_of_range, "'logit_bias' names no token of the model");
        model::TokenBias bias{static_cast<std::uint32_t>(one.token), 0};
        TRY_ASSIGN(bias.bias, parse_decimal(one.bias, "logit_bias"));
        out.logit_bias.push_back(bias);
    }
    if (from.logprobs > 0)
        out.logprobs = static_cast<std::uint32_t>(std::min(from.logprobs - 1, kU32Max));
    out.seed = from.seed;
    out.stop = from.stop;
    out.schema = from.schema;
    return out;
}

}  // namespace

Result<executor::GenerateRequest> to_generate_request(const wire::Infer& infer) {
    executor::GenerateRequest request;
    request.id = std::to_string(infer.request);
    request.prompt = infer.prompt;
    request.messages = infer.messages;
    request.prompt_tokens_max = wire::input_tokens_max(infer.prompt, infer.messages);
    TRY_ASSIGN(request.params, to_params(infer.sampling));
    request.temperature_given = !infer.sampling.temperature.empty();
    request.top_p_given = !infer.sampling.top_p.empty();
    request.repetition_given = !infer.sampling.repetition_penalty.empty();
    return request;
}

}  // namespace worker::agent

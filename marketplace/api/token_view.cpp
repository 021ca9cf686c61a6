// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/token_view.hpp"

#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marketplace::api {

namespace {

/// What OpenAI gives for a token that cannot come.
constexpr double kLogprobMin = -9999.0;

double shown(double logprob) {
    return logprob >= kLogprobMin ? std::min(logprob, 0.0) : kLogprobMin;
}

Json named(const wire::TokenLogprob& one) {
    Json bytes = Json::array();
    for (const char c : one.bytes)
        bytes.push_back(static_cast<unsigned char>(c));
    return {{"token", token_text(one.bytes)},
            {"logprob", shown(one.logprob)},
            {"bytes", std::move(bytes)}};
}

}  // namespace

std::string token_text(std::string_view bytes) {
    // The JSON writer replaces what is no UTF-8, and leaves the rest alone.
    const auto written = ledger::rpc::parse_json(ledger::rpc::to_text(Json(bytes)));
    if (written && written->is_string() && written->get_ref<const std::string&>() == bytes)
        return std::string(bytes);
    std::string out = "bytes:";
    for (const char c : bytes)
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    return out;
}

Json chat_logprob(const std::vector<wire::TokenLogprob>& logprobs) {
    Json out = named(logprobs.front());
    out["top_logprobs"] = Json::array();
    for (std::size_t i = 1; i < logprobs.size(); ++i)
        out["top_logprobs"].push_back(named(logprobs[i]));
    return out;
}

void TextLogprobs::add(const std::vector<wire::TokenLogprob>& logprobs) {
    tokens_.push_back(token_text(logprobs.front().bytes));
    token_logprobs_.push_back(shown(logprobs.front().logprob));
    offsets_.push_back(offset_);
    offset_ += logprobs.front().bytes.size();
    Json top = Json::object();
    for (std::size_t i = 1; i < logprobs.size(); ++i)
        top[token_text(logprobs[i].bytes)] = shown(logprobs[i].logprob);
    top_logprobs_.push_back(std::move(top));
}

Json TextLogprobs::take() {
    if (tokens_.empty()) return nullptr;
    Json out{{"tokens", std::exchange(tokens_, Json::array())},
             {"token_logprobs", std::exchange(token_logprobs_, Json::array())},
             {"top_logprobs", std::exchange(top_logprobs_, Json::array())},
             {"text_offset", std::exchange(offsets_, Json::array())}};
    return out;
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/completion_input.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace marketplace::api {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using nlohmann::json;

namespace {

constexpr std::uint64_t kDefaultTextTokens = 16;
constexpr std::uint64_t kDefaultChatTokens = 256;
constexpr std::uint64_t kMaxTokens = 1U << 20U;
constexpr std::size_t kStopMax = 4;
constexpr std::size_t kStopBytesMax = 256;
constexpr std::size_t kMessagesMax = 1000;

constexpr std::size_t kSchemaBytesMax = 16 * 1024;
constexpr std::size_t kBiasesMax = 300;
constexpr std::uint64_t kChoicesMax = 16;
constexpr std::uint64_t kChatLogprobsMax = 20;
constexpr std::uint64_t kTextLogprobsMax = 5;
constexpr std::uint64_t kTokenMax = (1ULL << 32U) - 1;

/// Taken, whether they have an effect here or not.
constexpr std::array<std::string_view, 27> kTaken{"model",
                                                  "prompt",
                                                  "messages",
                                                  "max_tokens",
                                                  "max_completion_tokens",
                                                  "temperature",
                                                  "top_p",
                                                  "top_k",
                                                  "min_p",
                                                  "presence_penalty",
                                                  "frequency_penalty",
                                                  "repetition_penalty",
                                                  "logit_bias",
                                                  "logprobs",
                                                  "top_logprobs",
                                                  "seed",
                                                  "stop",
                                                  "stream",
                                                  "stream_options",
                                                  "n",
                                                  "echo",
                                                  "user",
                                                  "best_of",
                                                  "response_format",
                                                  "parallel_tool_calls",
                                                  "safety_identifier",
                                                  "prompt_cache_key"};

/// Known to OpenAI's clients and not offered here. `harmless` is the value, as JSON, that asks for
/// nothing; null, false and what is empty always do.
struct NotOffered {
    const char* name;
    const char* harmless;
};
constexpr std::array<NotOffered, 15> kNotOffered{{{"tools", ""},
                                                  {"tool_choice", "\"none\""},
                                                  {"functions", ""},
                                                  {"function_call", "\"none\""},
                                                  {"audio", ""},
                                                  {"modalities", "[\"text\"]"},
                                                  {"prediction", ""},
                                                  {"suffix", ""},
                                                  {"web_search_options", ""},
                                                  {"reasoning_effort", "\"none\""},
                                                  {"verbosity", "\"medium\""},
                                                  {"store", ""},
                                                  {"service_tier", "\"auto\""},
                                                  {"best_of", "1"},
                                                  {"use_beam_search", ""}}};

tl::unexpected<ledger::base::Error> invalid(std::string_view name, std::string_view problem) {
    return fail(ErrorCode::invalid_field, fmt::format("'{}' {}", name, problem));
}

[[nodiscard]] const json* find(const json& object, const char* name) {
    const auto member = object.find(name);
    return member == object.end() || member->is_null() ? nullptr : &*member;
}

Result<void> read_count(const json& body, const char* name, std::uint64_t most,
                        std::uint64_t& out) {
    const json* value = find(body, name);
    if (value == nullptr) return {};
    if (!value->is_number_unsigned()) return invalid(name, "must be an integer, 0 or above");
    out = value->get<std::uint64_t>();
    if (out > most)
        return fail(ErrorCode::out_of_range, fmt::format("'{}' is at most {}", name, most));
    return {};
}

std::string to_decimal(double number) {
    std::string text = fmt::format("{:.6f}", number);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return text == "-0" ? "0" : text;
}

Result<void> read_decimal(const json& body, const char* name, double least, double most,
                          std::string& out) {
    const json* value = find(body, name);
    if (value == nullptr) return {};
    if (!value->is_number()) return invalid(name, "must be a number");
    const double number = value->get<double>();
    if (!(number >= least && number <= most))
        return fail(ErrorCode::out_of_range,
                    fmt::format("'{}' must be from {} to {}", name, least, most));
    out = to_decimal(number);
    return {};
}

Result<void> read_flag(const json& body, const char* name, bool& out) {
    const json* value = find(body, name);
    if (value == nullptr) return {};
    if (!value->is_boolean()) return invalid(name, "must be true or false");
    out = value->get<bool>();
    return {};
}

Result<void> read_stop(const json& body, CompletionInput& out) {
    const json* value = find(body, "stop");
    if (value == nullptr) return {};
    const json list = value->is_array() ? *value : json::array({*value});
    if (list.size() > kStopMax) return invalid("stop", "has at most 4 sequences");
    for (const json& item : list) {
        if (!item.is_string() || item.get_ref<const std::string&>().empty() ||
            item.get_ref<const std::string&>().size() > kStopBytesMax)
            return invalid("stop", "must be a string of 1 to 256 bytes, or a list of them");
        out.sampling.stop.push_back(item.get<std::string>());
    }
    return {};
}

Result<void> read_prompt(const json& body, CompletionInput& out) {
    const json* value = find(body, "prompt");
    if (value == nullptr) return fail(ErrorCode::missing_field, "you must provide 'prompt'");
    if (value->is_array() && value->size() == 1 && value->front().is_string())
        out.prompt = value->front().get<std::string>();
    else if (value->is_string())
        out.prompt = value->get<std::string>();
    else
        return invalid("prompt", "must be one string");
    return {};
}

/// A message's content: a string, or a list of text parts.
Result<std::string> read_content(const json& message) {
    const json* content = find(message, "content");
    if (content == nullptr) return std::string();
    if (content->is_string()) return content->get<std::string>();
    if (!content->is_array()) return invalid("messages", "content must be text");
    std::string out;
    for (const json& part : *content) {
        const json* type = part.is_object() ? find(part, "type") : nullptr;
        const json* text = part.is_object() ? find(part, "text") : nullptr;
        if (type == nullptr || *type != "text" || text == nullptr || !text->is_string())
            return fail(ErrorCode::unsupported, "'messages' may hold text parts only");
        out += text->get<std::string>();
    }
    return out;
}

Result<void> read_messages(const json& body, CompletionInput& out) {
    const json* messages = find(body, "messages");
    if (messages == nullptr) return fail(ErrorCode::missing_field, "you must provide 'messages'");
    if (!messages->is_array() || messages->empty() || messages->size() > kMessagesMax)
        return invalid("messages", "must be a list of 1 to 1000 messages");
    json plain = json::array();
    for (const json& message : *messages) {
        const json* role = message.is_object() ? find(message, "role") : nullptr;
        if (role == nullptr || !role->is_string()) return invalid("messages", "each needs a role");
        const std::string name = role->get<std::string>();
        if (name != "system" && name != "developer" && name != "user" && name != "assistant")
            return fail(ErrorCode::unsupported, "a role is system, developer, user or assistant");
        TRY_ASSIGN(const std::string content, read_content(message));
        out.prompt += name + ": " + content + "\n";
        plain.push_back({{"role", name == "developer" ? "system" : name}, {"content", content}});
    }
    out.prompt += "assistant:";
    out.messages = ledger::rpc::to_text(plain);
    return {};
}

Result<void> read_seed(const json& body, CompletionInput& out) {
    const json* value = find(body, "seed");
    if (value == nullptr) return {};
    if (!value->is_number_integer()) return invalid("seed", "must be an integer");
    out.sampling.seed = value->is_number_unsigned()
                            ? value->get<std::uint64_t>()
                            : static_cast<std::uint64_t>(value->get<std::int64_t>());
    out.has_seed = true;
    return {};
}

/// vLLM's: 0 and -1 mean no limit.
Result<void> read_top_k(const json& body, CompletionInput& out) {
    const json* value = find(body, "top_k");
    if (value == nullptr) return {};
    if (!value->is_number_integer()) return invalid("top_k", "must be an integer");
    const bool all = *value == 0 || *value == -1;
    if (!all && (!value->is_number_unsigned() || value->get<std::uint64_t>() > kTokenMax))
        return fail(ErrorCode::out_of_range, "'top_k' must be -1, or from 0 to 2^32 - 1");
    // On the wire 0 leaves it to the model's publisher.
    out.sampling.top_k = all ? kTokenMax : value->get<std::uint64_t>();
    return {};
}

Result<void> read_logit_bias(const json& body, CompletionInput& out) {
    const json* value = find(body, "logit_bias");
    if (value == nullptr) return {};
    if (!value->is_object()) return invalid("logit_bias", "must map token numbers to biases");
    if (value->size() > kBiasesMax) return invalid("logit_bias", "has at most 300 tokens");
    for (const auto& [key, bias] : value->items()) {
        const auto token = ledger::base::parse_u64(key);
        if (!token || *token > kTokenMax) return invalid("logit_bias", "must name token numbers");
        if (!bias.is_number()) return invalid("logit_bias", "must map to numbers");
        const double number = bias.get<double>();
        if (!(number >= -100 && number <= 100))
            return fail(ErrorCode::out_of_range, "'logit_bias' must be from -100 to 100");
        out.sampling.logit_bias.push_back({*token, to_decimal(number)});
    }
    return {};
}

/// A chat says whether and how many, a text completion just how many.
Result<void> read_logprobs(const json& body, CompletionInput& out) {
    const json* top = find(body, "top_logprobs");
    std::uint64_t alternatives = 0;
    if (out.kind == CompletionKind::kText) {
        if (top != nullptr) return invalid("top_logprobs", "is for chats; use 'logprobs'");
        if (find(body, "logprobs") == nullptr) return {};
        TRY(read_count(body, "logprobs", kTextLogprobsMax, alternatives));
        if (out.echo)
            return fail(ErrorCode::unsupported, "'logprobs' do not cover what 'echo' repeats");
        out.sampling.logprobs = alternatives + 1;
        return {};
    }
    bool wanted = false;
    TRY(read_flag(body, "logprobs", wanted));
    TRY(read_count(body, "top_logprobs", kChatLogprobsMax, alternatives));
    if (top != nullptr && !wanted) return invalid("top_logprobs", "needs 'logprobs' true");
    if (wanted) out.sampling.logprobs = alternatives + 1;
    return {};
}

/// Any text, any JSON object, or what a schema says; the worker knows which schemas it can keep.
Result<void> read_response_format(const json& body, CompletionInput& out) {
    const json* value = find(body, "response_format");
    if (value == nullptr) return {};
    const json* type = value->is_object() ? find(*value, "type") : nullptr;
    if (type == nullptr || !type->is_string())
        return invalid("response_format", "must have a type");
    if (*type == "text") return {};
    if (!out.sampling.stop.empty())
        return fail(ErrorCode::unsupported, "'stop' cannot cut a text that has to be JSON");
    if (*type == "json_object") {
        out.sampling.schema = R"({"type":"object"})";
        return {};
    }
    if (*type != "json_schema")
        return fail(ErrorCode::unsupported,
                    "'response_format' is text, json_object or json_schema");
    const json* named = find(*value, "json_schema");
    const json* schema = named != nullptr && named->is_object() ? find(*named, "schema") : nullptr;
    if (schema == nullptr || !schema->is_object())
        return invalid("response_format", "must have a json_schema with a schema");
    out.sampling.schema = ledger::rpc::to_text(*schema);
    if (out.sampling.schema.size() > kSchemaBytesMax)
        return fail(ErrorCode::too_large, "'response_format' has a schema above 16 KiB");
    return {};
}

Result<void> refuse_not_offered(const json& body) {
    for (const NotOffered& one : kNotOffered) {
        const json* value = find(body, one.name);
        if (value == nullptr || *value == false || ledger::rpc::to_text(*value) == one.harmless)
            continue;
        const bool empty = (value->is_array() || value->is_object()) && value->empty();
        if (empty || *value == "") continue;
        if (one.name == std::string_view("best_of") && body.contains("n") && *value == body["n"])
            continue;
        return fail(ErrorCode::unsupported, fmt::format("'{}' is not supported here", one.name));
    }
    return {};
}

Result<void> read_sampling(const json& body, CompletionInput& out) {
    wire::Sampling& s = out.sampling;
    TRY(read_count(body, "max_tokens", kMaxTokens, s.max_tokens));
    TRY(read_count(body, "max_completion_tokens", kMaxTokens, s.max_tokens));
    if (s.max_tokens == 0)
        return fail(ErrorCode::out_of_range,
                    fmt::format("'{}' must be at least 1", find(body, "max_completion_tokens")
                                                               ? "max_completion_tokens"
                                                               : "max_tokens"));
    TRY(read_decimal(body, "temperature", 0, 2, s.temperature));
    TRY(read_decimal(body, "top_p", 0, 1, s.top_p));
    TRY(read_decimal(body, "min_p", 0, 1, s.min_p));
    TRY(read_decimal(body, "presence_penalty", -2, 2, s.presence_penalty));
    TRY(read_decimal(body, "frequency_penalty", -2, 2, s.frequency_penalty));
    TRY(read_decimal(body, "repetition_penalty", 0.01, 10, s.repetition_penalty));
    out.has_temperature = find(body, "temperature") != nullptr;
    out.has_top_p = find(body, "top_p") != nullptr;
    TRY(read_top_k(body, out));
    TRY(read_logit_bias(body, out));
    TRY(read_logprobs(body, out));
    TRY(read_seed(body, out));
    TRY(read_stop(body, out));
    TRY(read_count(body, "n", UINT64_MAX, s.choices));
    if (s.choices < 1 || s.choices > kChoicesMax)
        return fail(ErrorCode::out_of_range, fmt::format("'n' must be from 1 to {}", kChoicesMax));
    return {};
}

}  // namespace

Result<CompletionInput> parse_completion(CompletionKind kind, std::string_view text) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = ledger::base::limits::kHttpBodyBytes;
    TRY_ASSIGN(const json body, ledger::rpc::parse_json(text, bounds));
    if (!body.is_object()) return fail(ErrorCode::invalid_request, "send a JSON object");
    CompletionInput out;
    out.kind = kind;
    const json* model = find(body, "model");
    if (model == nullptr || !model->is_string())
        return fail(ErrorCode::missing_field, "you must provide a 'model'");
    out.model = model->get<std::string>();
    TRY(kind == CompletionKind::kChat ? read_messages(body, out) : read_prompt(body, out));
    TRY(refuse_not_offered(body));
    out.sampling.max_tokens =
        kind == CompletionKind::kChat ? kDefaultChatTokens : kDefaultTextTokens;
    TRY(read_flag(body, "stream", out.stream));
    TRY(read_flag(body, "echo", out.echo));
    TRY(read_sampling(body, out));
    TRY(read_response_format(body, out));
    if (const json* user = find(body, "user"); user != nullptr && !user->is_string())
        return invalid("user", "must be a string");
    if (const json* options = find(body, "stream_options")) {
        if (!options->is_object()) return invalid("stream_options", "must be an object");
        TRY(read_flag(*options, "include_usage", out.include_usage));
    }
    const auto refused = [](const std::string& key) {  // unless it asked for nothing
        return std::any_of(kNotOffered.begin(), kNotOffered.end(),
                           [&](const NotOffered& one) { return key == one.name; });
    };
    for (const auto& [key, value] : body.items())
        if (!refused(key) &&
            std::find(kTaken.begin(), kTaken.end(), std::string_view(key)) == kTaken.end())
            out.ignored.push_back(key.substr(0, 64));
    return out;
}

}  // namespace marketplace::api

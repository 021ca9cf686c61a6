// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/completion_input.hpp"

#include "ledger/base/limits.hpp"
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

/// Taken, whether they have an effect here or not.
constexpr std::array<std::string_view, 15> kTaken{
    "model",          "prompt", "messages", "max_tokens", "max_completion_tokens",
    "temperature",    "top_p",  "seed",     "stop",       "stream",
    "stream_options", "n",      "echo",     "user",       "best_of"};

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

Result<void> read_decimal(const json& body, const char* name, double most, std::string& out) {
    const json* value = find(body, name);
    if (value == nullptr) return {};
    if (!value->is_number()) return invalid(name, "must be a number");
    const double number = value->get<double>();
    if (!(number >= 0 && number <= most))
        return fail(ErrorCode::out_of_range, fmt::format("'{}' must be from 0 to {}", name, most));
    std::string text = fmt::format("{:.6f}", number);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    out = std::move(text);
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
        out.stop.push_back(item.get<std::string>());
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
    out.seed = value->is_number_unsigned() ? value->get<std::uint64_t>()
                                           : static_cast<std::uint64_t>(value->get<std::int64_t>());
    out.has_seed = true;
    return {};
}

Result<void> read_single(const json& body, const char* name) {
    std::uint64_t count = 1;
    TRY(read_count(body, name, UINT64_MAX, count));
    if (count != 1) return fail(ErrorCode::unsupported, fmt::format("'{}' must be 1", name));
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
    out.max_tokens = kind == CompletionKind::kChat ? kDefaultChatTokens : kDefaultTextTokens;
    TRY(read_count(body, "max_tokens", kMaxTokens, out.max_tokens));
    TRY(read_count(body, "max_completion_tokens", kMaxTokens, out.max_tokens));
    if (out.max_tokens == 0)
        return fail(ErrorCode::out_of_range, "'max_tokens' must be at least 1");
    TRY(read_decimal(body, "temperature", 2, out.temperature));
    TRY(read_decimal(body, "top_p", 1, out.top_p));
    out.has_temperature = find(body, "temperature") != nullptr;
    out.has_top_p = find(body, "top_p") != nullptr;
    TRY(read_seed(body, out));
    TRY(read_stop(body, out));
    TRY(read_flag(body, "stream", out.stream));
    TRY(read_flag(body, "echo", out.echo));
    TRY(read_single(body, "n"));
    TRY(read_single(body, "best_of"));
    if (const json* options = find(body, "stream_options")) {
        if (!options->is_object()) return invalid("stream_options", "must be an object");
        TRY(read_flag(*options, "include_usage", out.include_usage));
    }
    for (const auto& [key, value] : body.items())
        if (std::find(kTaken.begin(), kTaken.end(), std::string_view(key)) == kTaken.end())
            out.ignored.push_back(key.substr(0, 64));
    return out;
}

}  // namespace marketplace::api

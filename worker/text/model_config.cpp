// SPDX-License-Identifier: Apache-2.0
#include "worker/text/model_config.hpp"

#include "worker/text/fields.hpp"
#include "worker/text/limits.hpp"

#include <fmt/format.h>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kTemplatesMax = 16;

Result<Value> parse_config(std::string_view file) {
    if (file.size() > limits::kConfigBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("a configuration is longer than {} bytes", limits::kConfigBytes));
    TRY_ASSIGN(Value root, parse_json(file, limits::kMessageNodes));
    if (root.dict() == nullptr)
        return fail(ErrorCode::data_invalid, "a configuration must be a JSON object");
    return root;
}

bool is_absent(const Value* value) {
    return value == nullptr || value->is(Value::Kind::kNull);
}

/// A token by its text, or an object that has it as "content".
Result<std::optional<std::string>> token_field(const Value& of, std::string_view name) {
    const Value* value = of.find(name);
    if (is_absent(value)) return std::nullopt;
    const Value* content = value->dict() == nullptr ? value : value->find("content");
    if (content == nullptr || content->text() == nullptr ||
        content->text()->size() > limits::kAddedTokenBytes)
        return fail(ErrorCode::data_invalid, fmt::format("{} must be a token's text", name));
    return *content->text();
}

Result<std::optional<bool>> optional_flag(const Value& of, std::string_view name) {
    if (is_absent(of.find(name))) return std::nullopt;
    TRY_ASSIGN(const bool flag, flag_field(of, name, false));
    return flag;
}

Result<std::vector<TokenizerConfig::NamedTemplate>> templates_field(const Value& root) {
    std::vector<TokenizerConfig::NamedTemplate> out;
    const Value* value = root.find("chat_template");
    if (is_absent(value)) return out;
    if (value->text() != nullptr) {
        out.push_back({"default", *value->text()});
    } else if (value->list() != nullptr && value->list()->size() <= kTemplatesMax) {
        for (const Value& item : *value->list()) {
            TRY_ASSIGN(std::string name, text_field(item, "name"));
            TRY_ASSIGN(std::string source, text_field(item, "template"));
            out.push_back({std::move(name), std::move(source)});
        }
    } else {
        return fail(
            ErrorCode::data_invalid,
            fmt::format("chat_template must be a string or a list of at most {}", kTemplatesMax));
    }
    for (const auto& one : out) {
        if (one.source.size() > limits::kTemplateBytes)
            return fail(ErrorCode::job_limit,
                        fmt::format("a template is longer than {} bytes", limits::kTemplateBytes));
    }
    return out;
}

}  // namespace

const std::string* TokenizerConfig::chat_template(std::string_view name) const {
    for (const NamedTemplate& one : chat_templates) {
        if (one.name == name) return &one.source;
    }
    return nullptr;
}

Result<TokenizerConfig> parse_tokenizer_config(std::string_view file) {
    TRY_ASSIGN(const Value root, parse_config(file));
    TokenizerConfig out;
    TRY_ASSIGN(out.chat_templates, templates_field(root));
    TRY_ASSIGN(out.bos_token, token_field(root, "bos_token"));
    TRY_ASSIGN(out.eos_token, token_field(root, "eos_token"));
    TRY_ASSIGN(out.pad_token, token_field(root, "pad_token"));
    TRY_ASSIGN(out.unk_token, token_field(root, "unk_token"));
    TRY_ASSIGN(out.add_bos_token, optional_flag(root, "add_bos_token"));
    TRY_ASSIGN(out.add_eos_token, optional_flag(root, "add_eos_token"));
    return out;
}

Result<Value> make_chat_context(const TokenizerConfig& config, Value messages, Value tools,
                                bool add_generation_prompt) {
    Dict out;
    out.set("messages", std::move(messages));
    out.set("tools", std::move(tools));
    out.set("documents", Value());
    out.set("add_generation_prompt", Value(add_generation_prompt));
    if (config.bos_token) out.set("bos_token", Value(*config.bos_token));
    if (config.eos_token) out.set("eos_token", Value(*config.eos_token));
    if (config.pad_token) out.set("pad_token", Value(*config.pad_token));
    if (config.unk_token) out.set("unk_token", Value(*config.unk_token));
    return Value::make_dict(std::move(out));
}

}  // namespace worker::text

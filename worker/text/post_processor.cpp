// SPDX-License-Identifier: Apache-2.0
#include "worker/text/post_processor.hpp"

#include "worker/text/fields.hpp"
#include "worker/text/limits.hpp"

#include <fmt/format.h>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

/// The ids of a template's special token.
Result<std::vector<std::uint32_t>> special_ids(const Value& part, const Value& item) {
    TRY_ASSIGN(const std::string name, text_field(item, "id"));
    const Value* tokens = part.find("special_tokens");
    const Value* token = tokens == nullptr ? nullptr : tokens->find(name);
    const Value* ids = token == nullptr ? nullptr : token->find("ids");
    if (ids == nullptr || ids->list() == nullptr)
        return fail(ErrorCode::data_invalid,
                    fmt::format("the template has no ids for {}", name.substr(0, 64)));
    std::vector<std::uint32_t> out;
    for (const Value& id : *ids->list()) {
        const std::int64_t* number = id.integer();
        if (number == nullptr || *number < 0 ||
            static_cast<std::uint64_t>(*number) >= limits::kVocabulary)
            return fail(ErrorCode::data_invalid, "the template has an id that is none");
        out.push_back(static_cast<std::uint32_t>(*number));
    }
    return out;
}

}  // namespace

Result<void> PostProcessor::add_template(const Value& part) {
    const Value* items = part.find("single");
    if (items == nullptr || items->list() == nullptr)
        return fail(ErrorCode::data_invalid, "single must be a list");
    std::vector<std::uint32_t> before;
    std::vector<std::uint32_t> after;
    bool seen = false;
    for (const Value& item : *items->list()) {
        if (item.find("Sequence") != nullptr) {
            if (seen) return unsupported_part("template", "with the text twice");
            seen = true;
        } else if (const Value* special = item.find("SpecialToken")) {
            TRY_ASSIGN(const auto ids, special_ids(part, *special));
            auto& side = seen ? after : before;
            side.insert(side.end(), ids.begin(), ids.end());
        } else {
            return fail(ErrorCode::data_invalid, "the template has an item that is none");
        }
    }
    if (!seen) return fail(ErrorCode::data_invalid, "the template leaves the text out");
    before_.insert(before_.begin(), before.begin(), before.end());
    after_.insert(after_.end(), after.begin(), after.end());
    if (before_.size() + after_.size() > limits::kTemplateItems)
        return fail(ErrorCode::job_limit,
                    fmt::format("the template adds more than {} tokens", limits::kTemplateItems));
    return {};
}

Result<PostProcessor> PostProcessor::parse(const Value* part) {
    PostProcessor out;
    TRY_ASSIGN(const std::vector<Value> parts, steps_of(part, "processors"));
    for (const Value& one : parts) {
        TRY_ASSIGN(const std::string type, text_field(one, "type"));
        if (type == "TemplateProcessing")
            TRY(out.add_template(one));
        else if (type != "ByteLevel")  // which only moves offsets, and we give none
            return unsupported_part("post-processor", type);
    }
    return out;
}

}  // namespace worker::text

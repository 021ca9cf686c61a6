// SPDX-License-Identifier: Apache-2.0
#include "worker/text/value.hpp"

#include "worker/text/json_events.hpp"

#include <algorithm>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

struct Value::Items {
    Items(List list, std::size_t levels) : items(std::move(list)), depth(levels) {}
    List items;
    std::size_t depth;
};

struct Value::Members {
    Members(Dict dict, std::size_t levels) : members(std::move(dict)), depth(levels) {}
    Dict members;
    std::size_t depth;
};

Result<Value> Value::make_list(List items) {
    std::size_t depth = 0;
    for (const Value& item : items)
        depth = std::max(depth, item.depth());
    if (depth >= kDepthMax) return fail(ErrorCode::job_limit, "values nest too deep");
    Value out;
    out.data_ = std::make_shared<const Items>(std::move(items), depth + 1);
    return out;
}

Result<Value> Value::make_dict(Dict members) {
    std::size_t depth = 0;
    for (const auto& [name, value] : members.members())
        depth = std::max(depth, value.depth());
    if (depth >= kDepthMax) return fail(ErrorCode::job_limit, "values nest too deep");
    Value out;
    out.data_ = std::make_shared<const Members>(std::move(members), depth + 1);
    return out;
}

Value::Kind Value::kind() const noexcept {
    if (const Handle* found = handle()) return found->kind;
    return static_cast<Kind>(data_.index());
}

const std::string* Value::text() const noexcept {
    const auto* found = std::get_if<std::shared_ptr<const std::string>>(&data_);
    return found == nullptr ? nullptr : found->get();
}

const List* Value::list() const noexcept {
    const auto* found = std::get_if<std::shared_ptr<const Items>>(&data_);
    return found == nullptr ? nullptr : &(*found)->items;
}

const Dict* Value::dict() const noexcept {
    const auto* found = std::get_if<std::shared_ptr<const Members>>(&data_);
    return found == nullptr ? nullptr : &(*found)->members;
}

const Value* Value::find(std::string_view name) const noexcept {
    const Dict* found = dict();
    return found == nullptr ? nullptr : found->find(name);
}

std::size_t Value::depth() const noexcept {
    if (const auto* items = std::get_if<std::shared_ptr<const Items>>(&data_))
        return (*items)->depth;
    if (const auto* members = std::get_if<std::shared_ptr<const Members>>(&data_))
        return (*members)->depth;
    return 0;
}

void Dict::set(std::string name, Value value) {
    const auto [place, added] = places_.try_emplace(name, members_.size());
    if (added)
        members_.emplace_back(std::move(name), std::move(value));
    else
        members_[place->second].second = std::move(value);
}

const Value* Dict::find(std::string_view name) const noexcept {
    const auto place = places_.find(name);
    return place == places_.end() ? nullptr : &members_[place->second].second;
}

Result<Value> parse_json(std::string_view text, std::size_t nodes_max) {
    TreeBuilder builder(nodes_max);
    TRY(run_json(text, builder));
    return builder.take();
}

}  // namespace worker::text

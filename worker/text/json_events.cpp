// SPDX-License-Identifier: Apache-2.0
#include "worker/text/json_events.hpp"

#include "worker/text/limits.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <limits>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using nlohmann::json;

namespace {

/// nlohmann's event interface in front of a TreeBuilder. False ends the parse.
class Events {
 public:
    explicit Events(TreeBuilder& builder) : builder_(builder) {}

    bool null() { return keep(builder_.scalar(Value())); }
    bool boolean(bool value) { return keep(builder_.scalar(Value(value))); }
    bool number_integer(json::number_integer_t value) {
        return keep(builder_.scalar(Value(std::int64_t{value})));
    }
    bool number_unsigned(json::number_unsigned_t value) {
        if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
            return keep(builder_.scalar(Value(static_cast<double>(value))));
        return number_integer(static_cast<json::number_integer_t>(value));
    }
    bool number_float(json::number_float_t value, const std::string&) {
        return keep(builder_.scalar(Value(value)));
    }
    bool string(std::string& value) { return keep(builder_.scalar(Value(std::move(value)))); }
    bool binary(json::binary_t&) { return false; }
    bool start_object(std::size_t) { return keep(builder_.open(true)); }
    bool start_array(std::size_t) { return keep(builder_.open(false)); }
    bool key(std::string& name) { return keep(builder_.key(std::move(name))); }
    bool end_object() { return keep(builder_.close()); }
    bool end_array() { return keep(builder_.close()); }
    bool parse_error(std::size_t, const std::string&, const json::exception&) { return false; }

    Result<void> outcome{};

 private:
    bool keep(Result<void> result) {
        if (!result) outcome = std::move(result);
        return outcome.has_value();
    }
    TreeBuilder& builder_;
};

}  // namespace

Result<void> run_json(std::string_view text, TreeBuilder& builder) {
    Events events(builder);
    const bool read = json::sax_parse(text.begin(), text.end(), &events);
    TRY(events.outcome);
    if (!read) return fail(ErrorCode::data_invalid, "not a JSON document");
    return {};
}

TreeBuilder::Done TreeBuilder::place(Value value) {
    if (open_.empty()) {
        root_ = std::move(value);
        return {};
    }
    Level& level = open_.back();
    if (level.is_dict)
        level.members.set(std::move(level.name), std::move(value));
    else
        level.items.push_back(std::move(value));
    level.name.clear();
    return {};
}

TreeBuilder::Done TreeBuilder::scalar(Value value) {
    if (nodes_left_ == 0)
        return fail(ErrorCode::job_limit, "the JSON document has too many values");
    --nodes_left_;
    return place(std::move(value));
}

TreeBuilder::Done TreeBuilder::open(bool is_dict) {
    if (nodes_left_ == 0)
        return fail(ErrorCode::job_limit, "the JSON document has too many values");
    --nodes_left_;
    if (open_.size() == limits::kJsonDepth)
        return fail(ErrorCode::job_limit,
                    fmt::format("the JSON document nests deeper than {}", limits::kJsonDepth));
    open_.emplace_back(is_dict);
    return {};
}

TreeBuilder::Done TreeBuilder::key(std::string name) {
    Level& level = open_.back();
    if (level.members.find(name) != nullptr)
        return fail(ErrorCode::data_invalid, fmt::format("the key {} is repeated", name));
    level.name = std::move(name);
    return {};
}

TreeBuilder::Done TreeBuilder::close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    TRY_ASSIGN(Value value, level.is_dict ? Value::make_dict(std::move(level.members))
                                          : Value::make_list(std::move(level.items)));
    return place(std::move(value));
}

}  // namespace worker::text

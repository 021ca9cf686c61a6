// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace worker::text {

class Value;
class Dict;
using List = std::vector<Value>;

/// A value of a JSON document or of a chat template: what a template sees of messages and tools.
/// Lists and dicts are shared and never change, so a copy is cheap and a cycle impossible.
class Value {
 public:
    /// The kinds of a template's own values stand last; JSON has none of them.
    enum class Kind : std::uint8_t {
        kNull,
        kBoolean,
        kInteger,
        kNumber,
        kText,
        kList,
        kDict,
        kUndefined,
        kNamespace,
        kMacro,
        kLoop,
    };
    /// A template's changing values, named by their place in the interpreter that made them.
    struct Handle {
        Kind kind = Kind::kUndefined;
        std::uint32_t index = 0;
        friend bool operator==(const Handle&, const Handle&) = default;
    };
    /// How deep lists and dicts may nest; make_list and make_dict answer for it.
    static constexpr std::size_t kDepthMax = 64;

    Value() = default;
    explicit Value(bool value) : data_(value) {}
    explicit Value(std::int64_t value) : data_(value) {}
    explicit Value(double value) : data_(value) {}
    explicit Value(std::string value)
        : data_(std::make_shared<const std::string>(std::move(value))) {}
    explicit Value(std::string_view value) : Value(std::string(value)) {}
    explicit Value(const char* value) : Value(std::string(value)) {}
    explicit Value(Handle handle) : data_(handle) {}

    /// Errors: job_limit (nested deeper than kDepthMax).
    [[nodiscard]] static ledger::base::Result<Value> make_list(List items);
    [[nodiscard]] static ledger::base::Result<Value> make_dict(Dict members);
    [[nodiscard]] static Value undefined() { return Value(Handle{Kind::kUndefined, 0}); }

    [[nodiscard]] Kind kind() const noexcept;
    [[nodiscard]] bool is(Kind kind_asked) const noexcept { return kind() == kind_asked; }
    /// Null for values of another kind.
    [[nodiscard]] const bool* boolean() const noexcept { return std::get_if<bool>(&data_); }
    [[nodiscard]] const std::int64_t* integer() const noexcept {
        return std::get_if<std::int64_t>(&data_);
    }
    [[nodiscard]] const double* number() const noexcept { return std::get_if<double>(&data_); }
    [[nodiscard]] const std::string* text() const noexcept;
    [[nodiscard]] const List* list() const noexcept;
    [[nodiscard]] const Dict* dict() const noexcept;
    [[nodiscard]] const Handle* handle() const noexcept { return std::get_if<Handle>(&data_); }
    /// A dict's member; null when this is no dict or has none of that name.
    [[nodiscard]] const Value* find(std::string_view name) const noexcept;
    /// Levels of lists and dicts: 0 for other values.
    [[nodiscard]] std::size_t depth() const noexcept;

 private:
    struct Items;
    struct Members;
    std::variant<std::monostate, bool, std::int64_t, double, std::shared_ptr<const std::string>,
                 std::shared_ptr<const Items>, std::shared_ptr<const Members>, Handle>
        data_;
};

/// Members in the order they were set, found by name in logarithmic time.
class Dict {
 public:
    /// Sets a member, in its old place when there is one of that name.
    void set(std::string name, Value value);
    [[nodiscard]] const Value* find(std::string_view name) const noexcept;
    [[nodiscard]] const std::vector<std::pair<std::string, Value>>& members() const noexcept {
        return members_;
    }
    [[nodiscard]] std::size_t size() const noexcept { return members_.size(); }

 private:
    std::vector<std::pair<std::string, Value>> members_;
    std::map<std::string, std::size_t, std::less<>> places_;
};

/// Parses one JSON document of at most `nodes_max` values, 32 levels deep, no key twice.
/// Errors: data_invalid, job_limit.
[[nodiscard]] ledger::base::Result<Value> parse_json(std::string_view text, std::size_t nodes_max);

}  // namespace worker::text

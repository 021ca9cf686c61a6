// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// What a template can do with values, as Python does it.
namespace worker::text {

/// The work one rendering may still do: a unit for a byte made or looked at.
class Budget {
 public:
    explicit Budget(std::size_t units) : left_(units) {}
    /// Error: job_limit.
    [[nodiscard]] ledger::base::Result<void> spend(std::size_t units);

 private:
    std::size_t left_;
};

/// What a call, a filter or a test was given.
struct Arguments {
    std::vector<Value> values;
    std::vector<std::pair<std::string, Value>> keywords;

    /// By place or by name; null when left out.
    [[nodiscard]] const Value* get(std::size_t place, std::string_view name) const;
};

[[nodiscard]] bool is_true(const Value& value);
/// a == b. Error: job_limit.
[[nodiscard]] ledger::base::Result<bool> are_equal(const Value& a, const Value& b, Budget& budget);
/// As str() gives it; nothing for what is undefined. Errors: unsupported (a macro), job_limit.
[[nodiscard]] ledger::base::Result<std::string> to_text(const Value& value, Budget& budget);
/// a < b. Error: data_invalid (kinds that have no order).
[[nodiscard]] ledger::base::Result<bool> is_less(const Value& a, const Value& b);
/// `item in of`. Errors: data_invalid, job_limit.
[[nodiscard]] ledger::base::Result<bool> contains(const Value& of, const Value& item,
                                                  Budget& budget);
/// What a loop goes through: items, names of a dict, characters; nothing of what is undefined.
[[nodiscard]] ledger::base::Result<List> items_of(const Value& value, Budget& budget);
/// Characters, items or members. Error: data_invalid.
[[nodiscard]] ledger::base::Result<std::size_t> length_of(const Value& value);
/// of[key]: undefined when there is none. Errors: data_invalid (of is undefined, or takes no key).
[[nodiscard]] ledger::base::Result<Value> item_of(const Value& of, const Value& key,
                                                  Budget& budget);
/// of[start:stop:step], each left out when null.
[[nodiscard]] ledger::base::Result<Value> slice_of(const Value& of, const Value& start,
                                                   const Value& stop, const Value& step,
                                                   Budget& budget);
/// a op b for + - * / // % ** ~.
[[nodiscard]] ledger::base::Result<Value> calculate(std::string_view op, const Value& a,
                                                    const Value& b, Budget& budget);
/// An integer, a number or a truth value as a number. Error: data_invalid.
[[nodiscard]] ledger::base::Result<double> number_of(const Value& value);
/// "a string", "undefined", … for messages.
[[nodiscard]] std::string_view kind_name(const Value& value);

/// value | name(arguments). Errors: unsupported (names the filter), data_invalid, job_limit.
[[nodiscard]] ledger::base::Result<Value> apply_filter(std::string_view name, const Value& value,
                                                       const Arguments& arguments, Budget& budget);
/// value is name(arguments). Errors: unsupported (names the test), data_invalid.
[[nodiscard]] ledger::base::Result<bool> apply_test(std::string_view name, const Value& value,
                                                    const Arguments& arguments, Budget& budget);
/// value.name(arguments). Errors: unsupported (names the method), data_invalid, job_limit.
[[nodiscard]] ledger::base::Result<Value> call_method(std::string_view name, const Value& value,
                                                      const Arguments& arguments, Budget& budget);

}  // namespace worker::text

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <cstddef>
#include <string>

namespace worker::text {

/// How a document is laid out.
struct JsonLayout {
    std::size_t indent = 0;  ///< spaces a level; 0 for one line
    std::string item_separator = ", ";
    std::string key_separator = ": ";
    bool sort_keys = false;
};

/// The text of a value as Python's json.dumps writes it without ensure_ascii, at most `size_max`
/// bytes. Errors: unsupported (a value that JSON has not), job_limit.
[[nodiscard]] ledger::base::Result<std::string> to_json(const Value& value,
                                                        const JsonLayout& layout,
                                                        std::size_t size_max);

/// A floating-point number as Python prints it: 1.0, 1e-05, nan.
[[nodiscard]] std::string number_text(double number);

}  // namespace worker::text

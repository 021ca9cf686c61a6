// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// A piece of a template.
struct TemplateToken {
    enum class Kind : std::uint8_t {
        kText,         ///< written as it stands
        kOutputBegin,  ///< {{
        kOutputEnd,    ///< }}
        kBlockBegin,   ///< {%
        kBlockEnd,     ///< %}
        kName,
        kInteger,
        kNumber,
        kString,  ///< with its escapes resolved
        kOperator,
        kEnd,
    };
    Kind kind = Kind::kEnd;
    std::string text;
    std::uint32_t line = 0;
};

/// Cuts a Jinja template into tokens, white space around tags removed as with trim_blocks and
/// lstrip_blocks. The last token is kEnd. Errors name the line: data_invalid, unsupported,
/// job_limit.
[[nodiscard]] ledger::base::Result<std::vector<TemplateToken>> lex_template(
    std::string_view source);

}  // namespace worker::text

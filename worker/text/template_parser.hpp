// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/template_ast.hpp"

#include <string_view>

namespace worker::text {

/// Parses a Jinja template. Errors name the line: data_invalid; unsupported (a statement that chat
/// templates do not use); job_limit (too long, nested deeper than limits::kTemplateDepth).
[[nodiscard]] ledger::base::Result<TemplateAst> parse_template(std::string_view source);

}  // namespace worker::text

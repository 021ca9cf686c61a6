// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/template_ast.hpp"

#include <string>

namespace worker::text {

/// Runs a template. `context` is a mapping. Errors as ChatTemplate::render.
[[nodiscard]] ledger::base::Result<std::string> render_template(const TemplateAst& ast,
                                                                const Value& context);

}  // namespace worker::text

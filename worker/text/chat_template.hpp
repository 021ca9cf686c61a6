// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/value.hpp"

#include <memory>
#include <string>
#include <string_view>

namespace worker::text {

struct TemplateAst;

/// A model's chat template: Jinja, as far as chat templates use it. Immutable and cheap to copy;
/// may be rendered from many threads at once.
class ChatTemplate {
 public:
    /// Errors: data_invalid (not a template), unsupported (names the construct and the line),
    /// job_limit.
    [[nodiscard]] static ledger::base::Result<ChatTemplate> parse(std::string_view source);

    /// The text for a mapping of what the template may name: `messages` (a list of mappings with
    /// `role` and `content`), `tools` (a list or none), `add_generation_prompt`, `bos_token`,
    /// `eos_token`, … Errors: invalid_request (the template refuses these messages, and says why),
    /// data_invalid, unsupported, job_limit (steps, output or nesting; limits.hpp).
    [[nodiscard]] ledger::base::Result<std::string> render(const Value& context) const;

 private:
    explicit ChatTemplate(std::shared_ptr<const TemplateAst> ast) : ast_(std::move(ast)) {}
    std::shared_ptr<const TemplateAst> ast_;
};

}  // namespace worker::text

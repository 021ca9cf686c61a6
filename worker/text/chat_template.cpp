// SPDX-License-Identifier: Apache-2.0
#include "worker/text/chat_template.hpp"

#include "worker/text/template_parser.hpp"
#include "worker/text/template_renderer.hpp"

namespace worker::text {

using ledger::base::Result;

Result<ChatTemplate> ChatTemplate::parse(std::string_view source) {
    TRY_ASSIGN(TemplateAst ast, parse_template(source));
    return ChatTemplate(std::make_shared<const TemplateAst>(std::move(ast)));
}

Result<std::string> ChatTemplate::render(const Value& context) const {
    return render_template(*ast_, context);
}

}  // namespace worker::text

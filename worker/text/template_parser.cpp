// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_parser.hpp"

#include "worker/text/limits.hpp"
#include "worker/text/template_expressions.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

class Parser : private ExpressionParser {
 public:
    explicit Parser(std::vector<TemplateToken> tokens) : ExpressionParser(std::move(tokens)) {}

    Result<TemplateAst> run() {
        TRY_ASSIGN(ast_.root, block({}));
        if (!at(TokenKind::kEnd)) return unexpected();
        return std::move(ast_);
    }

 private:
    Node block(std::initializer_list<std::string_view> ends);
    Node output();
    Node statement();
    Node if_statement();
    Node for_statement();
    Node set_statement();
    Node macro_statement();
    Result<std::vector<std::string>> targets();
    Result<void> end_of_tag();
    Result<void> end_statement(std::string_view name);
    Result<void> begin_of_tag(std::string_view name);
    [[nodiscard]] bool opens(std::initializer_list<std::string_view> names) const;
};

bool Parser::opens(std::initializer_list<std::string_view> names) const {
    return at(TokenKind::kBlockBegin) && ahead(1).kind == TokenKind::kName &&
           std::find(names.begin(), names.end(), ahead(1).text) != names.end();
}

/// Statements up to a tag of one of those names, which stays.
Result<NodeId> Parser::block(std::initializer_list<std::string_view> ends) {
    TemplateNode node = make(NodeKind::kBlock);
    if (++nested_ > kNestedCallsMax)
        return fail(ErrorCode::job_limit, fmt::format("template line {}: nested deeper than {}",
                                                      node.line, kNestedCallsMax));
    while (!at(TokenKind::kEnd) && !opens(ends)) {
        if (at(TokenKind::kText)) {
            TemplateNode text = make(NodeKind::kText);
            text.value = Value(std::move(tokens_[at_++].text));
            TRY_ASSIGN(const NodeId id, add(std::move(text)));
            node.parts.push_back(id);
        } else if (at(TokenKind::kOutputBegin)) {
            TRY_ASSIGN(const NodeId id, output());
            node.parts.push_back(id);
        } else {
            TRY_ASSIGN(const NodeId id, statement());
            node.parts.push_back(id);
        }
    }
    --nested_;
    return add(std::move(node));
}

Result<NodeId> Parser::output() {
    ++at_;
    TemplateNode node = make(NodeKind::kOutput);
    TRY_ASSIGN(const NodeId what, expression());
    if (!at(TokenKind::kOutputEnd)) return unexpected();
    ++at_;
    node.parts = {what};
    return add(std::move(node));
}

Result<void> Parser::end_of_tag() {
    if (!at(TokenKind::kBlockEnd)) return unexpected();
    ++at_;
    return {};
}

/// "{% name", the rest of the tag still to come.
Result<void> Parser::begin_of_tag(std::string_view name) {
    if (!opens({name})) {
        if (at(TokenKind::kEnd))
            return fail(ErrorCode::data_invalid, fmt::format("template: {} is missing", name));
        return unexpected();
    }
    at_ += 2;
    return {};
}

/// "{% name %}"
Result<void> Parser::end_statement(std::string_view name) {
    TRY(begin_of_tag(name));
    return end_of_tag();
}

Result<NodeId> Parser::statement() {
    if (!at(TokenKind::kBlockBegin)) return unexpected();
    ++at_;
    if (take_name("if")) return if_statement();
    if (take_name("for")) return for_statement();
    if (take_name("set")) return set_statement();
    if (take_name("macro")) return macro_statement();
    if (take_name("generation")) {  // marks what the model says; written as it stands
        TRY(end_of_tag());
        TRY_ASSIGN(const NodeId body, block({"endgeneration"}));
        TRY(end_statement("endgeneration"));
        return body;
    }
    for (const auto& [name, kind] :
         {std::pair{"break", NodeKind::kBreak}, std::pair{"continue", NodeKind::kContinue}}) {
        if (!at_name(name)) continue;
        TemplateNode node = make(kind);
        ++at_;
        TRY(end_of_tag());
        return add(std::move(node));
    }
    if (at(TokenKind::kName) && !now().text.starts_with("end") && now().text != "else" &&
        now().text != "elif")
        return fail(ErrorCode::unsupported, fmt::format("template line {}: the statement {}",
                                                        now().line, now().text.substr(0, 64)));
    return unexpected();
}

Result<NodeId> Parser::if_statement() {
    TemplateNode node = make(NodeKind::kIf);
    TRY_ASSIGN(NodeId condition, expression());
    TRY(end_of_tag());
    TRY_ASSIGN(NodeId body, block({"elif", "else", "endif"}));
    node.parts = {condition, body};
    while (opens({"elif"})) {
        TRY(begin_of_tag("elif"));
        TRY_ASSIGN(condition, expression());
        TRY(end_of_tag());
        TRY_ASSIGN(body, block({"elif", "else", "endif"}));
        node.parts.push_back(condition);
        node.parts.push_back(body);
    }
    if (opens({"else"})) {
        TRY(end_statement("else"));
        TRY_ASSIGN(body, block({"endif"}));
        node.parts.push_back(body);
    }
    TRY(end_statement("endif"));
    return add(std::move(node));
}

/// "a" or "a, b" or "(a, b)"
Result<std::vector<std::string>> Parser::targets() {
    std::vector<std::string> out;
    const bool bracket = take_operator("(");
    do {
        TRY_ASSIGN(std::string name, any_name());
        out.push_back(std::move(name));
    } while (take_operator(",") && at(TokenKind::kName));
    if (bracket) TRY(expect(")"));
    return out;
}

Result<NodeId> Parser::for_statement() {
    TemplateNode node = make(NodeKind::kFor);
    TRY_ASSIGN(node.names, targets());
    if (!take_name("in")) return unexpected();
    // Not a whole expression: an "if" here is the loop's filter.
    TRY_ASSIGN(const NodeId what, any_of());
    NodeId filter = kNoNode;
    if (take_name("if")) {
        TRY_ASSIGN(filter, expression());
    }
    if (at_name("recursive"))
        return fail(ErrorCode::unsupported,
                    fmt::format("template line {}: a recursive loop", now().line));
    TRY(end_of_tag());
    TRY_ASSIGN(const NodeId body, block({"else", "endfor"}));
    NodeId otherwise = kNoNode;
    if (opens({"else"})) {
        TRY(end_statement("else"));
        TRY_ASSIGN(otherwise, block({"endfor"}));
    }
    TRY(end_statement("endfor"));
    node.parts = {what, filter, body, otherwise};
    return add(std::move(node));
}

Result<NodeId> Parser::set_statement() {
    TemplateNode node = make(NodeKind::kSet);
    TRY_ASSIGN(node.names, targets());
    if (node.names.size() == 1 && take_operator(".")) {
        node.kind = NodeKind::kSetField;
        TRY_ASSIGN(std::string field, any_name());
        node.names.push_back(std::move(field));
    }
    if (take_operator("=")) {
        TRY_ASSIGN(NodeId what, expression());
        if (at_operator(",")) {
            TemplateNode tuple = make(NodeKind::kList);
            tuple.parts.push_back(what);
            while (take_operator(",")) {
                TRY_ASSIGN(what, expression());
                tuple.parts.push_back(what);
            }
            TRY_ASSIGN(what, add(std::move(tuple)));
        }
        TRY(end_of_tag());
        node.parts = {what};
        return add(std::move(node));
    }
    if (node.kind != NodeKind::kSet || node.names.size() != 1) return unexpected();
    node.kind = NodeKind::kSetBlock;
    TRY(end_of_tag());
    TRY_ASSIGN(const NodeId body, block({"endset"}));
    TRY(end_statement("endset"));
    node.parts = {body};
    return add(std::move(node));
}

Result<NodeId> Parser::macro_statement() {
    TemplateNode node = make(NodeKind::kMacro);
    TRY_ASSIGN(node.name, any_name());
    TRY(expect("("));
    std::vector<NodeId> defaults;
    while (!at_operator(")")) {
        TRY_ASSIGN(std::string name, any_name());
        node.names.push_back(std::move(name));
        NodeId value = kNoNode;
        if (take_operator("=")) {
            TRY_ASSIGN(value, expression());
        }
        defaults.push_back(value);
        if (!take_operator(",")) break;
    }
    TRY(expect(")"));
    TRY(end_of_tag());
    TRY_ASSIGN(const NodeId body, block({"endmacro"}));
    TRY(end_statement("endmacro"));
    node.parts = {body};
    node.parts.insert(node.parts.end(), defaults.begin(), defaults.end());
    return add(std::move(node));
}

}  // namespace

Result<TemplateAst> parse_template(std::string_view source) {
    TRY_ASSIGN(std::vector<TemplateToken> tokens, lex_template(source));
    return Parser(std::move(tokens)).run();
}

}  // namespace worker::text

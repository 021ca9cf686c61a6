// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_expressions.hpp"

#include "worker/text/limits.hpp"

#include <fmt/format.h>

#include <charconv>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

tl::unexpected<ledger::base::Error> ExpressionParser::unexpected() const {
    const std::string& text = now().text;
    return fail(ErrorCode::data_invalid,
                fmt::format("template line {}: {} is not expected here", now().line,
                            text.empty() ? "the end of the tag" : text.substr(0, 64)));
}

Result<NodeId> ExpressionParser::add(TemplateNode node) {
    std::uint32_t depth = 0;
    for (const NodeId part : node.parts) {
        if (part != kNoNode) depth = std::max(depth, ast_.nodes[part].depth);
    }
    for (const auto& [name, part] : node.keywords)
        depth = std::max(depth, ast_.nodes[part].depth);
    node.depth = depth + 1;
    if (node.depth > limits::kTemplateDepth)
        return fail(ErrorCode::job_limit, fmt::format("template line {}: nested deeper than {}",
                                                      node.line, limits::kTemplateDepth));
    ast_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(ast_.nodes.size() - 1);
}

Result<NodeId> ExpressionParser::expression() {
    if (++nested_ > kNestedCallsMax)
        return fail(ErrorCode::job_limit, fmt::format("template line {}: nested deeper than {}",
                                                      now().line, kNestedCallsMax));
    auto out = choice();
    --nested_;
    return out;
}

Result<NodeId> ExpressionParser::choice() {
    TRY_ASSIGN(NodeId value, any_of());
    while (at_name("if")) {
        TemplateNode node = make(NodeKind::kChoice);
        ++at_;
        TRY_ASSIGN(const NodeId condition, any_of());
        NodeId otherwise = kNoNode;
        if (take_name("else")) {
            TRY_ASSIGN(otherwise, expression());
        }
        node.parts = {condition, value, otherwise};
        TRY_ASSIGN(value, add(std::move(node)));
    }
    return value;
}

Result<NodeId> ExpressionParser::binary_chain(Node (ExpressionParser::*next)(),
                                              std::initializer_list<std::string_view> operators) {
    TRY_ASSIGN(NodeId left, (this->*next)());
    while ((at(TokenKind::kOperator) || at(TokenKind::kName)) &&
           std::find(operators.begin(), operators.end(), now().text) != operators.end()) {
        TemplateNode node = make(NodeKind::kBinary);
        node.name = tokens_[at_++].text;
        TRY_ASSIGN(const NodeId right, (this->*next)());
        node.parts = {left, right};
        TRY_ASSIGN(left, add(std::move(node)));
    }
    return left;
}

Result<NodeId> ExpressionParser::any_of() {
    return binary_chain(&ExpressionParser::all_of, {"or"});
}
Result<NodeId> ExpressionParser::all_of() {
    return binary_chain(&ExpressionParser::negation, {"and"});
}
Result<NodeId> ExpressionParser::sum() {
    return binary_chain(&ExpressionParser::joined, {"+", "-"});
}
Result<NodeId> ExpressionParser::joined() {
    return binary_chain(&ExpressionParser::product, {"~"});
}

Result<NodeId> ExpressionParser::negation() {
    std::vector<TemplateNode> nots;
    while (at_name("not")) {
        nots.push_back(make(NodeKind::kUnary));
        nots.back().name = "not";
        ++at_;
    }
    TRY_ASSIGN(NodeId value, comparison());
    for (TemplateNode& node : nots) {
        node.parts = {value};
        TRY_ASSIGN(value, add(std::move(node)));
    }
    return value;
}

Result<NodeId> ExpressionParser::comparison() {
    TemplateNode node = make(NodeKind::kCompare);
    TRY_ASSIGN(const NodeId first, sum());
    node.parts.push_back(first);
    while (true) {
        std::string op;
        if (at(TokenKind::kOperator) &&
            (at_operator("==") || at_operator("!=") || at_operator("<") || at_operator("<=") ||
             at_operator(">") || at_operator(">="))) {
            op = now().text;
            ++at_;
        } else if (take_name("in")) {
            op = "in";
        } else if (at_name("not") && ahead(1).kind == TokenKind::kName && ahead(1).text == "in") {
            op = "not in";
            at_ += 2;
        } else {
            break;
        }
        TRY_ASSIGN(const NodeId next, sum());
        node.names.push_back(std::move(op));
        node.parts.push_back(next);
    }
    if (node.names.empty()) return first;
    return add(std::move(node));
}

Result<NodeId> ExpressionParser::product() {
    TRY_ASSIGN(NodeId left, unary(true));
    while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
        TemplateNode node = make(NodeKind::kBinary);
        node.name = tokens_[at_++].text;
        TRY_ASSIGN(const NodeId right, unary(true));
        node.parts = {left, right};
        TRY_ASSIGN(left, add(std::move(node)));
    }
    return left;
}

Result<NodeId> ExpressionParser::unary(bool with_filters) {
    std::vector<TemplateNode> signs;
    while (at_operator("-") || at_operator("+")) {
        signs.push_back(make(NodeKind::kUnary));
        signs.back().name = tokens_[at_++].text;
    }
    TRY_ASSIGN(NodeId value, power());
    for (auto sign = signs.rbegin(); sign != signs.rend(); ++sign) {
        sign->parts = {value};
        TRY_ASSIGN(value, add(std::move(*sign)));
    }
    return with_filters ? filters(value) : Node(value);
}

Result<NodeId> ExpressionParser::power() {
    TRY_ASSIGN(NodeId base, primary());
    TRY_ASSIGN(base, postfix(base));
    while (at_operator("**")) {
        TemplateNode node = make(NodeKind::kBinary);
        node.name = tokens_[at_++].text;
        const bool negative = take_operator("-");
        TRY_ASSIGN(NodeId exponent, primary());
        TRY_ASSIGN(exponent, postfix(exponent));
        if (negative) {
            TemplateNode minus = make(NodeKind::kUnary);
            minus.name = "-";
            minus.parts = {exponent};
            TRY_ASSIGN(exponent, add(std::move(minus)));
        }
        node.parts = {base, exponent};
        TRY_ASSIGN(base, add(std::move(node)));
    }
    return base;
}

Result<NodeId> ExpressionParser::postfix(NodeId base) {
    while (true) {
        if (take_operator(".")) {
            TemplateNode node = make(NodeKind::kAttribute);
            if (at(TokenKind::kInteger)) {  // a.0 is a[0]
                node.kind = NodeKind::kItem;
                TRY_ASSIGN(const NodeId index, literal());
                node.parts = {base, index};
            } else {
                TRY_ASSIGN(node.name, any_name());
                node.parts = {base};
            }
            TRY_ASSIGN(base, add(std::move(node)));
        } else if (at_operator("[")) {
            TRY_ASSIGN(base, subscript(base));
        } else if (at_operator("(")) {
            TemplateNode node = make(NodeKind::kCall);
            node.parts = {base};
            TRY(arguments(node));
            TRY_ASSIGN(base, add(std::move(node)));
        } else {
            return base;
        }
    }
}

Result<NodeId> ExpressionParser::subscript(NodeId base) {
    TemplateNode node = make(NodeKind::kItem);
    TRY(expect("["));
    std::vector<NodeId> parts{base};
    bool slice = false;
    NodeId part = kNoNode;
    while (!at_operator("]")) {
        if (take_operator(":")) {
            slice = true;
            parts.push_back(part);
            part = kNoNode;
        } else if (part == kNoNode) {
            TRY_ASSIGN(part, expression());
        } else {
            return unexpected();
        }
    }
    TRY(expect("]"));
    parts.push_back(part);
    if ((!slice && part == kNoNode) || parts.size() > 4) return unexpected();
    if (slice) {
        node.kind = NodeKind::kSlice;
        parts.resize(4, kNoNode);
    }
    node.parts = std::move(parts);
    return add(std::move(node));
}

Result<void> ExpressionParser::arguments(TemplateNode& call) {
    TRY(expect("("));
    while (!at_operator(")")) {
        if (at_operator("*") || at_operator("**"))
            return fail(ErrorCode::unsupported,
                        fmt::format("template line {}: * in a call", now().line));
        const bool keyword =
            at(TokenKind::kName) && ahead(1).kind == TokenKind::kOperator && ahead(1).text == "=";
        std::string name;
        if (keyword) {
            name = now().text;
            at_ += 2;
        }
        TRY_ASSIGN(const NodeId value, expression());
        if (keyword)
            call.keywords.emplace_back(std::move(name), value);
        else if (!call.keywords.empty())
            return unexpected();
        else
            call.parts.push_back(value);
        if (!take_operator(",")) break;
    }
    return expect(")");
}

Result<NodeId> ExpressionParser::filters(NodeId base) {
    while (true) {
        if (at_operator("|")) {
            TemplateNode node = make(NodeKind::kFilter);
            ++at_;
            TRY_ASSIGN(node.name, any_name());
            node.parts = {base};
            if (at_operator("(")) TRY(arguments(node));
            TRY_ASSIGN(base, add(std::move(node)));
            TRY_ASSIGN(base, postfix(base));
        } else if (at_name("is")) {
            TRY_ASSIGN(base, test(base));
        } else {
            return base;
        }
    }
}

Result<NodeId> ExpressionParser::test(NodeId base) {
    TemplateNode node = make(NodeKind::kTest);
    ++at_;
    const bool negated = take_name("not");
    TRY_ASSIGN(node.name, any_name());
    node.parts = {base};
    const bool stops = at_name("else") || at_name("or") || at_name("and") || at_name("is") ||
                       at_name("if") || at_name("not") || at_name("in");
    const bool operand = at(TokenKind::kName) || at(TokenKind::kString) ||
                         at(TokenKind::kInteger) || at(TokenKind::kNumber) || at_operator("[") ||
                         at_operator("{");
    if (at_operator("(")) {
        TRY(arguments(node));
    } else if (operand && !stops) {
        TRY_ASSIGN(NodeId value, primary());
        TRY_ASSIGN(value, postfix(value));
        node.parts.push_back(value);
    }
    TRY_ASSIGN(const NodeId tested, add(std::move(node)));
    if (!negated) return tested;
    TemplateNode negation_node = make(NodeKind::kUnary);
    negation_node.name = "not";
    negation_node.parts = {tested};
    return add(std::move(negation_node));
}

Result<NodeId> ExpressionParser::literal() {
    TemplateNode node = make(NodeKind::kLiteral);
    const TemplateToken& token = tokens_[at_++];
    const char* first = token.text.data();
    const char* last = first + token.text.size();
    if (token.kind == TokenKind::kInteger) {
        std::int64_t number = 0;
        if (std::from_chars(first, last, number).ec != std::errc())
            return fail(ErrorCode::data_invalid,
                        fmt::format("template line {}: a number is too large", token.line));
        node.value = Value(number);
    } else if (token.kind == TokenKind::kNumber) {
        double number = 0;
        if (std::from_chars(first, last, number).ec != std::errc())
            return fail(ErrorCode::data_invalid,
                        fmt::format("template line {}: a number is too large", token.line));
        node.value = Value(number);
    } else {
        std::string text = token.text;
        while (at(TokenKind::kString))  // neighbours join, as in Python
            text += tokens_[at_++].text;
        node.value = Value(std::move(text));
    }
    return add(std::move(node));
}

Result<NodeId> ExpressionParser::primary() {
    if (at(TokenKind::kInteger) || at(TokenKind::kNumber) || at(TokenKind::kString))
        return literal();
    if (take_operator("(")) return list(")");
    if (take_operator("[")) return list("]");
    if (take_operator("{")) return dict();
    if (!at(TokenKind::kName)) return unexpected();
    TemplateNode node = make(NodeKind::kLiteral);
    if (at_name("true") || at_name("True")) {
        node.value = Value(true);
    } else if (at_name("false") || at_name("False")) {
        node.value = Value(false);
    } else if (!at_name("none") && !at_name("None")) {
        node.kind = NodeKind::kName;
        node.name = now().text;
    }
    ++at_;
    return add(std::move(node));
}

/// Items up to the bracket; in round ones a single expression without a comma stands for itself.
Result<NodeId> ExpressionParser::list(std::string_view closing) {
    TemplateNode node = make(NodeKind::kList);
    bool comma = false;
    while (!at_operator(closing)) {
        TRY_ASSIGN(const NodeId item, expression());
        node.parts.push_back(item);
        if (!take_operator(",")) break;
        comma = true;
    }
    TRY(expect(closing));
    if (closing == ")" && node.parts.size() == 1 && !comma) return node.parts.front();
    return add(std::move(node));
}

Result<NodeId> ExpressionParser::dict() {
    TemplateNode node = make(NodeKind::kDict);
    while (!at_operator("}")) {
        TRY_ASSIGN(const NodeId key, expression());
        TRY(expect(":"));
        TRY_ASSIGN(const NodeId value, expression());
        node.parts.push_back(key);
        node.parts.push_back(value);
        if (!take_operator(",")) break;
    }
    TRY(expect("}"));
    return add(std::move(node));
}

}  // namespace worker::text

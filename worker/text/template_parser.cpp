// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_parser.hpp"

#include "worker/text/limits.hpp"
#include "worker/text/template_lexer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <optional>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using TokenKind = TemplateToken::Kind;
using NodeKind = TemplateNode::Kind;

constexpr std::size_t kNestedCallsMax = 60;  // of the parser itself: one for a bracket or a block

/// Recursive descent. Brackets and blocks are what makes it call itself, and they are counted.
class Parser {
 public:
    explicit Parser(std::vector<TemplateToken> tokens) : tokens_(std::move(tokens)) {}

    Result<TemplateAst> run() {
        TRY_ASSIGN(ast_.root, block({}));
        if (!at(TokenKind::kEnd)) return unexpected();
        return std::move(ast_);
    }

 private:
    using Node = Result<NodeId>;

    // Statements
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

    // Expressions, from the loosest to the tightest
    Node expression();
    Node choice();
    Node any_of();
    Node all_of();
    Node negation();
    Node comparison();
    Node sum();
    Node joined();
    Node product();
    Node unary(bool with_filters);
    Node power();
    Node postfix(NodeId base);
    Node subscript(NodeId base);
    Node filters(NodeId base);
    Node test(NodeId base);
    Node primary();
    Node list(std::string_view closing);
    Node dict();
    Node literal();
    Result<void> arguments(TemplateNode& call);
    Node binary_chain(Node (Parser::*next)(), std::initializer_list<std::string_view> operators);

    // Tokens
    [[nodiscard]] const TemplateToken& now() const { return tokens_[at_]; }
    [[nodiscard]] const TemplateToken& ahead(std::size_t count) const {
        return tokens_[std::min(at_ + count, tokens_.size() - 1)];
    }
    [[nodiscard]] bool at(TokenKind kind) const { return now().kind == kind; }
    [[nodiscard]] bool at_operator(std::string_view text) const {
        return at(TokenKind::kOperator) && now().text == text;
    }
    [[nodiscard]] bool at_name(std::string_view text) const {
        return at(TokenKind::kName) && now().text == text;
    }
    bool take_operator(std::string_view text) {
        if (!at_operator(text)) return false;
        ++at_;
        return true;
    }
    bool take_name(std::string_view text) {
        if (!at_name(text)) return false;
        ++at_;
        return true;
    }
    Result<void> expect(std::string_view text) {
        if (!take_operator(text)) return unexpected();
        return {};
    }
    Result<std::string> any_name() {
        if (!at(TokenKind::kName)) return unexpected();
        return tokens_[at_++].text;
    }

    TemplateNode make(NodeKind kind) const {
        TemplateNode node;
        node.kind = kind;
        node.line = now().line;
        return node;
    }
    Node add(TemplateNode node);
    [[nodiscard]] tl::unexpected<ledger::base::Error> unexpected() const {
        const std::string& text = now().text;
        return fail(ErrorCode::data_invalid,
                    fmt::format("template line {}: {} is not expected here", now().line,
                                text.empty() ? "the end of the tag" : text.substr(0, 64)));
    }

    std::vector<TemplateToken> tokens_;
    std::size_t at_ = 0;
    std::size_t nested_ = 0;
    TemplateAst ast_;
};

Result<NodeId> Parser::add(TemplateNode node) {
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

// ── statements ───────────────────────────────────────────────────────────────────────────────────

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

// ── expressions ──────────────────────────────────────────────────────────────────────────────────

Result<NodeId> Parser::expression() {
    if (++nested_ > kNestedCallsMax)
        return fail(ErrorCode::job_limit, fmt::format("template line {}: nested deeper than {}",
                                                      now().line, kNestedCallsMax));
    auto out = choice();
    --nested_;
    return out;
}

Result<NodeId> Parser::choice() {
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

Result<NodeId> Parser::binary_chain(Node (Parser::*next)(),
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

Result<NodeId> Parser::any_of() {
    return binary_chain(&Parser::all_of, {"or"});
}
Result<NodeId> Parser::all_of() {
    return binary_chain(&Parser::negation, {"and"});
}
Result<NodeId> Parser::sum() {
    return binary_chain(&Parser::joined, {"+", "-"});
}
Result<NodeId> Parser::joined() {
    return binary_chain(&Parser::product, {"~"});
}

Result<NodeId> Parser::negation() {
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

Result<NodeId> Parser::comparison() {
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

Result<NodeId> Parser::product() {
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

Result<NodeId> Parser::unary(bool with_filters) {
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

Result<NodeId> Parser::power() {
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

Result<NodeId> Parser::postfix(NodeId base) {
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

Result<NodeId> Parser::subscript(NodeId base) {
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

Result<void> Parser::arguments(TemplateNode& call) {
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

Result<NodeId> Parser::filters(NodeId base) {
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

Result<NodeId> Parser::test(NodeId base) {
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

Result<NodeId> Parser::literal() {
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

Result<NodeId> Parser::primary() {
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
Result<NodeId> Parser::list(std::string_view closing) {
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

Result<NodeId> Parser::dict() {
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

}  // namespace

Result<TemplateAst> parse_template(std::string_view source) {
    TRY_ASSIGN(std::vector<TemplateToken> tokens, lex_template(source));
    return Parser(std::move(tokens)).run();
}

}  // namespace worker::text

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/template_ast.hpp"
#include "worker/text/template_lexer.hpp"

#include <algorithm>
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace worker::text {

/// The expressions of a template, by recursive descent over its tokens; the statements are a class
/// on top. Brackets and blocks are what makes it call itself, and they are counted.
class ExpressionParser {
 protected:
    using Node = ledger::base::Result<NodeId>;
    using TokenKind = TemplateToken::Kind;
    using NodeKind = TemplateNode::Kind;

    /// Calls of the parser inside one another: one for a bracket or a block.
    static constexpr std::size_t kNestedCallsMax = 60;

    explicit ExpressionParser(std::vector<TemplateToken> tokens) : tokens_(std::move(tokens)) {}

    /// A whole expression.
    Node expression();
    /// One without "if" and "else" behind it, which mean something else in a loop.
    Node any_of();

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
    ledger::base::Result<void> expect(std::string_view text) {
        if (!take_operator(text)) return unexpected();
        return {};
    }
    ledger::base::Result<std::string> any_name() {
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
    [[nodiscard]] tl::unexpected<ledger::base::Error> unexpected() const;

    std::vector<TemplateToken> tokens_;
    std::size_t at_ = 0;
    std::size_t nested_ = 0;
    TemplateAst ast_;

 private:
    // From the loosest to the tightest
    Node choice();
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
    ledger::base::Result<void> arguments(TemplateNode& call);
    Node binary_chain(Node (ExpressionParser::*next)(),
                      std::initializer_list<std::string_view> operators);
};

}  // namespace worker::text

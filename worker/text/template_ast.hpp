// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/text/value.hpp"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace worker::text {

/// A node of a parsed template, named by its place in TemplateAst::nodes.
using NodeId = std::uint32_t;
inline constexpr NodeId kNoNode = ~NodeId{0};

struct TemplateNode {
    enum class Kind : std::uint8_t {
        // expressions
        kLiteral,    ///< value
        kName,       ///< name
        kList,       ///< parts
        kDict,       ///< parts: key, value, key, value, …
        kAttribute,  ///< parts[0].name
        kItem,       ///< parts[0][parts[1]]
        kSlice,      ///< parts[0][parts[1]:parts[2]:parts[3]], kNoNode for what is left out
        kCall,       ///< parts[0](parts[1], …, keywords)
        kFilter,     ///< parts[0] | name(parts[1], …, keywords)
        kTest,       ///< parts[0] is name(parts[1], …)
        kUnary,      ///< name: not, -, +
        kBinary,     ///< name: and, or, +, -, *, /, //, %, **, ~
        kCompare,    ///< parts[0] names[0] parts[1] names[1] parts[2] …
        kChoice,     ///< parts[1] if parts[0] else parts[2] (or kNoNode)
        // statements
        kText,      ///< value
        kOutput,    ///< {{ parts[0] }}
        kIf,        ///< parts: condition and body in turn; last a body alone for else. A body is a
                    ///< kBlock.
        kFor,       ///< names: targets; parts: what, filter or kNoNode, body, else or kNoNode
        kSet,       ///< names: targets; parts[0]
        kSetField,  ///< names[0].names[1] = parts[0]
        kSetBlock,  ///< names[0]; parts[0] a body
        kMacro,     ///< name; names: parameters; parts: body, then one default or kNoNode each
        kBlock,     ///< parts: statements
        kBreak,
        kContinue,
    };
    Kind kind = Kind::kBlock;
    std::uint32_t line = 0;
    std::uint32_t depth = 1;  ///< levels of nodes from here down
    std::string name;
    Value value;
    std::vector<NodeId> parts;
    std::vector<std::string> names;
    std::vector<std::pair<std::string, NodeId>> keywords;
};

struct TemplateAst {
    std::vector<TemplateNode> nodes;
    NodeId root = kNoNode;
};

}  // namespace worker::text

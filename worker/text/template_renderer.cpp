// SPDX-License-Identifier: Apache-2.0
#include "worker/text/template_renderer.hpp"

#include "worker/text/limits.hpp"
#include "worker/text/template_values.hpp"

#include <fmt/format.h>

#include <map>
#include <optional>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

using Kind = Value::Kind;
using NodeKind = TemplateNode::Kind;

constexpr std::size_t kRangeMax = 1'000'000;
// What a step costs beside a byte, by the time they take.
constexpr std::size_t kNodeUnits = 16;
constexpr std::size_t kRoundUnits = 64;

/// What ends a list of statements before its end.
enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

class Renderer {
 public:
    Renderer(const TemplateAst& ast, const Value& context)
        : ast_(ast), context_(context), budget_(limits::kRenderWork), scopes_(1) {}

    Result<std::string> run() {
        TRY(run_node(ast_.root));
        return std::move(out_);
    }

 private:
    using Eval = Result<Value>;
    using Scope = std::map<std::string, Value, std::less<>>;
    struct Loop {
        List items;
        std::size_t index = 0;
    };

    /// Counts one level of the tree that is being walked, for as long as it lives.
    class Level {
     public:
        explicit Level(std::size_t& depth) : depth_(depth) { ++depth_; }
        ~Level() { --depth_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;
        Level(Level&&) = delete;
        Level& operator=(Level&&) = delete;

     private:
        std::size_t& depth_;
    };

    // Statements
    Result<Flow> run_node(NodeId id);
    Result<Flow> run_statement(const TemplateNode& node);
    Result<Flow> run_block(const TemplateNode& node);
    Result<Flow> run_if(const TemplateNode& node);
    Result<Flow> run_for(const TemplateNode& node);
    Result<List> loop_items(const TemplateNode& node);
    Result<void> run_set(const TemplateNode& node);
    Result<void> run_set_field(const TemplateNode& node);
    Result<void> bind(const std::vector<std::string>& targets, const Value& value);
    Result<void> write(std::string_view text);
    Result<std::string> captured(NodeId body);

    // Expressions
    Eval eval(NodeId id);
    Eval eval_node(const TemplateNode& node);
    Eval eval_optional(NodeId id) { return id == kNoNode ? Eval(Value()) : eval(id); }
    Eval eval_list(const TemplateNode& node);
    Eval eval_dict(const TemplateNode& node);
    Eval eval_slice(const TemplateNode& node);
    Eval eval_attribute(const Value& of, const std::string& name);
    Eval eval_loop(const Loop& loop, const std::string& name);
    Eval eval_call(const TemplateNode& node);
    Eval eval_binary(const TemplateNode& node);
    Eval eval_unary(const TemplateNode& node);
    Eval eval_compare(const TemplateNode& node);
    Result<bool> compare(const std::string& op, const Value& a, const Value& b);
    Result<Arguments> arguments_of(const TemplateNode& node);
    Eval call_function(const std::string& name, const Arguments& arguments);
    Eval call_range(const Arguments& arguments);
    Eval call_macro(NodeId id, const Arguments& arguments);
    Eval make_namespace(const Arguments& arguments);
    [[nodiscard]] std::optional<Value> lookup(std::string_view name) const;

    /// The error with its line, unless it has one.
    [[nodiscard]] static ledger::base::Error located(const ledger::base::Error& error,
                                                     const TemplateNode& node) {
        if (error.code() == ErrorCode::invalid_request ||
            error.detail().starts_with("template line"))
            return error;
        return ledger::base::Error(error.code(),
                                   fmt::format("template line {}: {}", node.line, error.detail()));
    }

    const TemplateAst& ast_;
    const Value& context_;
    Budget budget_;
    std::vector<Scope> scopes_;     // the first is the template's own
    std::size_t frame_ = 0;         // a macro sees the scopes from here, and the first
    std::vector<Dict> namespaces_;  // never fewer: a handle stays good
    std::vector<Loop> loops_;
    std::size_t depth_ = 0;
    std::string out_;
};

// ── statements ───────────────────────────────────────────────────────────────────────────────────

Result<void> Renderer::write(std::string_view text) {
    TRY(budget_.spend(text.size()));
    if (out_.size() + text.size() > limits::kRenderBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("the text grows longer than {} bytes", limits::kRenderBytes));
    out_ += text;
    return {};
}

Result<Flow> Renderer::run_node(NodeId id) {
    const TemplateNode& node = ast_.nodes[id];
    const Level level(depth_);
    if (depth_ > limits::kRenderDepth)
        return tl::make_unexpected(
            located(ledger::base::Error(ErrorCode::job_limit, "macros nest too deep"), node));
    auto outcome = budget_.spend(kNodeUnits).and_then([&] { return run_statement(node); });
    if (!outcome) return tl::make_unexpected(located(outcome.error(), node));
    return outcome;
}

Result<Flow> Renderer::run_statement(const TemplateNode& node) {
    switch (node.kind) {
        case NodeKind::kText:
            TRY(write(*node.value.text()));
            return Flow::kNext;
        case NodeKind::kOutput: {
            TRY_ASSIGN(const Value value, eval(node.parts[0]));
            TRY_ASSIGN(const std::string text, to_text(value, budget_));
            TRY(write(text));
            return Flow::kNext;
        }
        case NodeKind::kIf:
            return run_if(node);
        case NodeKind::kFor:
            return run_for(node);
        case NodeKind::kSet:
            TRY(run_set(node));
            return Flow::kNext;
        case NodeKind::kSetField:
            TRY(run_set_field(node));
            return Flow::kNext;
        case NodeKind::kSetBlock: {
            scopes_.emplace_back();
            auto text = captured(node.parts[0]);
            scopes_.pop_back();
            TRY(text);
            scopes_.back()[node.names[0]] = Value(std::move(*text));
            return Flow::kNext;
        }
        case NodeKind::kMacro: {
            const auto id = static_cast<NodeId>(&node - ast_.nodes.data());
            scopes_.back()[node.name] = Value(Value::Handle{Kind::kMacro, id});
            return Flow::kNext;
        }
        case NodeKind::kBlock:
            return run_block(node);
        case NodeKind::kBreak:
        case NodeKind::kContinue:
            if (loops_.empty()) return fail(ErrorCode::data_invalid, "break outside of a loop");
            return node.kind == NodeKind::kBreak ? Flow::kBreak : Flow::kContinue;
        default:
            return fail(ErrorCode::internal, "an expression is no statement");
    }
}

Result<Flow> Renderer::run_block(const TemplateNode& node) {
    for (const NodeId statement : node.parts) {
        TRY_ASSIGN(const Flow flow, run_node(statement));
        if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
}

Result<Flow> Renderer::run_if(const TemplateNode& node) {
    std::size_t i = 0;
    for (; i + 1 < node.parts.size(); i += 2) {
        TRY_ASSIGN(const Value condition, eval(node.parts[i]));
        if (is_true(condition)) return run_node(node.parts[i + 1]);
    }
    if (i < node.parts.size()) return run_node(node.parts[i]);
    return Flow::kNext;
}

Result<void> Renderer::bind(const std::vector<std::string>& targets, const Value& value) {
    if (targets.size() == 1) {
        scopes_.back()[targets.front()] = value;
        return {};
    }
    TRY_ASSIGN(const List parts, items_of(value, budget_));
    if (parts.size() != targets.size())
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} values for {} names", parts.size(), targets.size()));
    for (std::size_t i = 0; i < parts.size(); ++i)
        scopes_.back()[targets[i]] = parts[i];
    return {};
}

/// The items, those that the filter of the loop leaves.
Result<List> Renderer::loop_items(const TemplateNode& node) {
    TRY_ASSIGN(const Value what, eval(node.parts[0]));
    TRY_ASSIGN(List items, items_of(what, budget_));
    if (node.parts[1] == kNoNode) return items;
    List kept;
    scopes_.emplace_back();
    for (Value& item : items) {
        TRY(budget_.spend(kRoundUnits));
        TRY(bind(node.names, item));
        TRY_ASSIGN(const Value keep, eval(node.parts[1]));
        if (is_true(keep)) kept.push_back(std::move(item));
    }
    scopes_.pop_back();
    return kept;
}

Result<Flow> Renderer::run_for(const TemplateNode& node) {
    TRY_ASSIGN(List items, loop_items(node));
    const std::size_t count = items.size();
    const auto place = static_cast<std::uint32_t>(loops_.size());
    loops_.push_back({std::move(items), 0});
    bool completed = false;
    for (std::size_t i = 0; i < count; ++i) {
        TRY(budget_.spend(kRoundUnits));
        loops_[place].index = i;
        scopes_.emplace_back();
        scopes_.back()["loop"] = Value(Value::Handle{Kind::kLoop, place});
        const Value item = loops_[place].items[i];
        TRY(bind(node.names, item));
        TRY_ASSIGN(const Flow flow, run_node(node.parts[2]));
        scopes_.pop_back();
        completed = completed || flow == Flow::kNext;
        if (flow == Flow::kBreak) break;
    }
    loops_.pop_back();
    // Jinja's "else" is for a loop of which no round came to its end, by continue or break too.
    if (completed || node.parts[3] == kNoNode) return Flow::kNext;
    return run_node(node.parts[3]);
}

Result<void> Renderer::run_set(const TemplateNode& node) {
    TRY_ASSIGN(const Value value, eval(node.parts[0]));
    return bind(node.names, value);
}

Result<void> Renderer::run_set_field(const TemplateNode& node) {
    TRY_ASSIGN(Value value, eval(node.parts[0]));
    const auto target = lookup(node.names[0]);
    if (!target || !target->is(Kind::kNamespace))
        return fail(ErrorCode::data_invalid, fmt::format("{} is no namespace", node.names[0]));
    namespaces_[target->handle()->index].set(node.names[1], std::move(value));
    return {};
}

/// What a body writes, as a text. Its scopes are the caller's affair.
Result<std::string> Renderer::captured(NodeId body) {
    std::string outer = std::move(out_);
    out_.clear();
    const auto flow = run_node(body);
    std::string text = std::move(out_);
    out_ = std::move(outer);
    TRY(flow);
    if (*flow != Flow::kNext) return fail(ErrorCode::unsupported, "break out of a macro or a set");
    return text;
}

// ── expressions ──────────────────────────────────────────────────────────────────────────────────

std::optional<Value> Renderer::lookup(std::string_view name) const {
    for (std::size_t i = scopes_.size(); i > frame_; --i) {
        const auto found = scopes_[i - 1].find(name);
        if (found != scopes_[i - 1].end()) return found->second;
    }
    const auto found = scopes_.front().find(name);
    if (found != scopes_.front().end()) return found->second;
    if (const Value* given = context_.find(name)) return *given;
    return std::nullopt;
}

Result<Value> Renderer::eval(NodeId id) {
    const TemplateNode& node = ast_.nodes[id];
    const Level level(depth_);
    if (depth_ > limits::kRenderDepth)
        return tl::make_unexpected(
            located(ledger::base::Error(ErrorCode::job_limit, "macros nest too deep"), node));
    auto value = budget_.spend(kNodeUnits).and_then([&] { return eval_node(node); });
    if (!value) return tl::make_unexpected(located(value.error(), node));
    return value;
}

Result<Value> Renderer::eval_node(const TemplateNode& node) {
    switch (node.kind) {
        case NodeKind::kLiteral:
            return node.value;
        case NodeKind::kName:
            return lookup(node.name).value_or(Value::undefined());
        case NodeKind::kList:
            return eval_list(node);
        case NodeKind::kDict:
            return eval_dict(node);
        case NodeKind::kAttribute: {
            TRY_ASSIGN(const Value of, eval(node.parts[0]));
            return eval_attribute(of, node.name);
        }
        case NodeKind::kItem: {
            TRY_ASSIGN(const Value of, eval(node.parts[0]));
            TRY_ASSIGN(const Value key, eval(node.parts[1]));
            if (of.handle() != nullptr && key.text() != nullptr)
                return eval_attribute(of, *key.text());
            return item_of(of, key, budget_);
        }
        case NodeKind::kSlice:
            return eval_slice(node);
        case NodeKind::kCall:
            return eval_call(node);
        case NodeKind::kFilter: {
            TRY_ASSIGN(const Value value, eval(node.parts[0]));
            TRY_ASSIGN(const Arguments arguments, arguments_of(node));
            return apply_filter(node.name, value, arguments, budget_);
        }
        case NodeKind::kTest: {
            TRY_ASSIGN(const Value value, eval(node.parts[0]));
            TRY_ASSIGN(const Arguments arguments, arguments_of(node));
            TRY_ASSIGN(const bool passes, apply_test(node.name, value, arguments, budget_));
            return Value(passes);
        }
        case NodeKind::kUnary:
            return eval_unary(node);
        case NodeKind::kBinary:
            return eval_binary(node);
        case NodeKind::kCompare:
            return eval_compare(node);
        case NodeKind::kChoice: {
            TRY_ASSIGN(const Value condition, eval(node.parts[0]));
            if (is_true(condition)) return eval(node.parts[1]);
            return node.parts[2] == kNoNode ? Eval(Value::undefined()) : eval(node.parts[2]);
        }
        default:
            return fail(ErrorCode::internal, "a statement is no expression");
    }
}

Result<Value> Renderer::eval_list(const TemplateNode& node) {
    List items;
    for (const NodeId part : node.parts) {
        TRY_ASSIGN(Value item, eval(part));
        items.push_back(std::move(item));
    }
    return Value::make_list(std::move(items));
}

Result<Value> Renderer::eval_dict(const TemplateNode& node) {
    Dict members;
    for (std::size_t i = 0; i + 1 < node.parts.size(); i += 2) {
        TRY_ASSIGN(const Value key, eval(node.parts[i]));
        if (key.text() == nullptr)
            return fail(ErrorCode::unsupported, fmt::format("{} as a key", kind_name(key)));
        TRY_ASSIGN(Value value, eval(node.parts[i + 1]));
        members.set(*key.text(), std::move(value));
    }
    return Value::make_dict(std::move(members));
}

Result<Value> Renderer::eval_slice(const TemplateNode& node) {
    TRY_ASSIGN(const Value of, eval(node.parts[0]));
    TRY_ASSIGN(const Value start, eval_optional(node.parts[1]));
    TRY_ASSIGN(const Value stop, eval_optional(node.parts[2]));
    TRY_ASSIGN(const Value step, eval_optional(node.parts[3]));
    return slice_of(of, start, stop, step, budget_);
}

Result<Value> Renderer::eval_attribute(const Value& of, const std::string& name) {
    const Value::Handle* handle = of.handle();
    if (of.is(Kind::kLoop) && handle->index < loops_.size())
        return eval_loop(loops_[handle->index], name);
    if (of.is(Kind::kNamespace)) {
        const Value* found = namespaces_[handle->index].find(name);
        return found == nullptr ? Value::undefined() : *found;
    }
    return item_of(of, Value(name), budget_);
}

Result<Value> Renderer::eval_loop(const Loop& loop, const std::string& name) {
    const auto index = static_cast<std::int64_t>(loop.index);
    const auto count = static_cast<std::int64_t>(loop.items.size());
    if (name == "index") return Value(index + 1);
    if (name == "index0") return Value(index);
    if (name == "revindex") return Value(count - index);
    if (name == "revindex0") return Value(count - index - 1);
    if (name == "first") return Value(index == 0);
    if (name == "last") return Value(index + 1 == count);
    if (name == "length") return Value(count);
    if (name == "previtem") return index == 0 ? Value::undefined() : loop.items[loop.index - 1];
    if (name == "nextitem")
        return index + 1 == count ? Value::undefined() : loop.items[loop.index + 1];
    return fail(ErrorCode::unsupported, fmt::format("loop.{}", name));
}

Result<Value> Renderer::eval_unary(const TemplateNode& node) {
    TRY_ASSIGN(const Value value, eval(node.parts[0]));
    if (node.name == "not") return Value(!is_true(value));
    return calculate(node.name, Value(std::int64_t{0}), value, budget_);
}

Result<Value> Renderer::eval_binary(const TemplateNode& node) {
    TRY_ASSIGN(const Value left, eval(node.parts[0]));
    if (node.name == "and") return is_true(left) ? eval(node.parts[1]) : Eval(left);
    if (node.name == "or") return is_true(left) ? Eval(left) : eval(node.parts[1]);
    TRY_ASSIGN(const Value right, eval(node.parts[1]));
    return calculate(node.name, left, right, budget_);
}

Result<bool> Renderer::compare(const std::string& op, const Value& a, const Value& b) {
    if (op == "in") return contains(b, a, budget_);
    if (op == "not in") {
        TRY_ASSIGN(const bool inside, contains(b, a, budget_));
        return !inside;
    }
    TRY_ASSIGN(const bool same, are_equal(a, b, budget_));
    if (op == "==") return same;
    if (op == "!=") return !same;
    if (a.text() != nullptr) TRY(budget_.spend(a.text()->size()));
    const bool up = op.front() == '<';
    TRY_ASSIGN(const bool strict, up ? is_less(a, b) : is_less(b, a));
    return strict || (op.size() == 2 && same);
}

/// a < b < c: each pair in turn, up to the first that does not hold.
Result<Value> Renderer::eval_compare(const TemplateNode& node) {
    TRY_ASSIGN(Value left, eval(node.parts[0]));
    for (std::size_t i = 0; i < node.names.size(); ++i) {
        TRY_ASSIGN(Value right, eval(node.parts[i + 1]));
        TRY_ASSIGN(const bool holds, compare(node.names[i], left, right));
        if (!holds) return Value(false);
        left = std::move(right);
    }
    return Value(true);
}

// ── calls ────────────────────────────────────────────────────────────────────────────────────────

Result<Arguments> Renderer::arguments_of(const TemplateNode& node) {
    Arguments out;
    for (std::size_t i = 1; i < node.parts.size(); ++i) {
        TRY_ASSIGN(Value value, eval(node.parts[i]));
        out.values.push_back(std::move(value));
    }
    for (const auto& [name, part] : node.keywords) {
        TRY_ASSIGN(Value value, eval(part));
        out.keywords.emplace_back(name, std::move(value));
    }
    return out;
}

Result<Value> Renderer::eval_call(const TemplateNode& node) {
    const TemplateNode& callee = ast_.nodes[node.parts[0]];
    if (callee.kind == NodeKind::kAttribute) {
        TRY_ASSIGN(const Value of, eval(callee.parts[0]));
        TRY_ASSIGN(const Arguments arguments, arguments_of(node));
        if (!of.is(Kind::kNamespace)) return call_method(callee.name, of, arguments, budget_);
        TRY_ASSIGN(const Value member, eval_attribute(of, callee.name));
        if (!member.is(Kind::kMacro))
            return fail(ErrorCode::data_invalid, fmt::format("{} is no macro", callee.name));
        return call_macro(member.handle()->index, arguments);
    }
    if (callee.kind != NodeKind::kName) return fail(ErrorCode::unsupported, "a call of a value");
    const auto value = lookup(callee.name);
    TRY_ASSIGN(const Arguments arguments, arguments_of(node));
    if (value && value->is(Kind::kMacro)) return call_macro(value->handle()->index, arguments);
    if (value) return fail(ErrorCode::data_invalid, fmt::format("a call of {}", kind_name(*value)));
    return call_function(callee.name, arguments);
}

Result<Value> Renderer::call_function(const std::string& name, const Arguments& arguments) {
    if (name == "raise_exception") {
        const Value* why = arguments.get(0, "message");
        std::string text;
        if (why != nullptr) {
            TRY_ASSIGN(text, to_text(*why, budget_));
        }
        constexpr std::size_t kShownMax = 500;
        return fail(ErrorCode::invalid_request, text.substr(0, kShownMax));
    }
    if (name == "range") return call_range(arguments);
    if (name == "namespace") return make_namespace(arguments);
    if (name == "dict") {
        Dict members;
        for (const auto& [key, value] : arguments.keywords)
            members.set(key, value);
        if (!arguments.values.empty()) return fail(ErrorCode::unsupported, "dict of a value");
        return Value::make_dict(std::move(members));
    }
    if (name == "strftime_now")
        return fail(ErrorCode::unsupported,
                    "strftime_now: a prompt must not depend on the worker's clock");
    return fail(ErrorCode::unsupported, fmt::format("the function {}", name.substr(0, 64)));
}

Result<Value> Renderer::call_range(const Arguments& arguments) {
    std::vector<std::int64_t> numbers;
    for (const Value& value : arguments.values) {
        if (value.integer() == nullptr)
            return fail(ErrorCode::data_invalid, fmt::format("range of {}", kind_name(value)));
        numbers.push_back(*value.integer());
    }
    if (numbers.empty() || numbers.size() > 3)
        return fail(ErrorCode::data_invalid, "range takes one to three numbers");
    const std::int64_t start = numbers.size() == 1 ? 0 : numbers[0];
    const std::int64_t stop = numbers.size() == 1 ? numbers[0] : numbers[1];
    const std::int64_t step = numbers.size() == 3 ? numbers[2] : 1;
    if (step == 0) return fail(ErrorCode::data_invalid, "range with step 0");
    List out;
    for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
        if (out.size() == kRangeMax)
            return fail(ErrorCode::job_limit, fmt::format("range of more than {}", kRangeMax));
        TRY(budget_.spend(16));
        out.emplace_back(i);
        if (__builtin_add_overflow(i, step, &i)) break;
    }
    return Value::make_list(std::move(out));
}

Result<Value> Renderer::make_namespace(const Arguments& arguments) {
    Dict members;
    for (const Value& value : arguments.values) {
        if (value.dict() == nullptr)
            return fail(ErrorCode::data_invalid, fmt::format("namespace of {}", kind_name(value)));
        TRY(budget_.spend(64 * value.dict()->size()));
        for (const auto& [name, member] : value.dict()->members())
            members.set(name, member);
    }
    for (const auto& [name, value] : arguments.keywords)
        members.set(name, value);
    TRY(budget_.spend(128));  // it stays until the end
    namespaces_.push_back(std::move(members));
    return Value(
        Value::Handle{Kind::kNamespace, static_cast<std::uint32_t>(namespaces_.size() - 1)});
}

Result<Value> Renderer::call_macro(NodeId id, const Arguments& arguments) {
    const TemplateNode& macro = ast_.nodes[id];
    if (arguments.values.size() > macro.names.size())
        return fail(ErrorCode::data_invalid, fmt::format("too many arguments for {}", macro.name));
    Scope scope;
    for (const auto& [name, value] : arguments.keywords)
        scope[name] = value;
    const std::size_t outer_frame = frame_;
    frame_ = scopes_.size();
    scopes_.emplace_back(std::move(scope));
    for (std::size_t i = 0; i < macro.names.size(); ++i) {
        if (i < arguments.values.size()) {
            scopes_.back()[macro.names[i]] = arguments.values[i];
        } else if (scopes_.back().find(macro.names[i]) == scopes_.back().end()) {
            const NodeId otherwise = macro.parts[i + 1];
            Value value = Value::undefined();
            if (otherwise != kNoNode) {
                TRY_ASSIGN(value, eval(otherwise));
            }
            scopes_.back()[macro.names[i]] = std::move(value);
        }
    }
    TRY_ASSIGN(std::string text, captured(macro.parts[0]));
    scopes_.pop_back();
    frame_ = outer_frame;
    return Value(std::move(text));
}

}  // namespace

Result<std::string> render_template(const TemplateAst& ast, const Value& context) {
    if (context.dict() == nullptr)
        return fail(ErrorCode::data_invalid, "what a template is rendered with is no mapping");
    return Renderer(ast, context).run();
}

}  // namespace worker::text

// SPDX-License-Identifier: Apache-2.0
#include "worker/text/regex.hpp"

#include "worker/text/utf8.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <new>
#include <string>
#include <utility>

namespace worker::text {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::uint32_t kMatchStepsMax = 10'000'000;
constexpr std::uint32_t kHeapKibMax = 16 * 1024;
constexpr std::size_t kJitStackBytes = 1024 * 1024;

struct FreeMatch {
    void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeMatchContext {
    void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeStack {
    void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

/// Rewrites the escapes that the two libraries read differently.
Result<std::string> translate(std::string_view pattern) {
    std::string out;
    bool in_class = false;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        const char c = pattern[i];
        if (c == '[' && in_class && !pattern.substr(i).starts_with("[:"))
            return fail(ErrorCode::unsupported, "a class inside a class of a pattern");
        if (in_class && pattern.substr(i).starts_with("&&"))
            return fail(ErrorCode::unsupported, "the intersection of classes in a pattern");
        if (c == '[' && !in_class) {
            in_class = true;
            out += c;
            // A bracket right after the opening stands for itself.
            if (pattern.substr(i + 1).starts_with("^")) out += pattern[++i];
            if (pattern.substr(i + 1).starts_with("]")) out += pattern[++i];
            continue;
        }
        if (c == ']') in_class = false;
        if (c != '\\' || i + 1 == pattern.size()) {
            out += c;
            continue;
        }
        const char escaped = pattern[++i];
        constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Pc})";
        switch (escaped) {
            case 's':
                out += R"(\p{White_Space})";
                break;
            case 'S':
                out += R"(\P{White_Space})";
                break;
            case 'w':
                out += in_class ? std::string(kWord) : fmt::format("[{}]", kWord);
                break;
            case 'W':
                if (in_class)
                    return fail(ErrorCode::unsupported, "\\W inside a class of a pattern");
                out += fmt::format("[^{}]", kWord);
                break;
            case 'h':
            case 'H':
            case 'C':
                return fail(ErrorCode::unsupported, fmt::format("\\{} in a pattern", escaped));
            default:
                out += c;
                out += escaped;
        }
    }
    return out;
}

}  // namespace

struct Regex::Code {
    explicit Code(pcre2_code* compiled) : code(compiled) {}
    ~Code() { pcre2_code_free(code); }
    Code(const Code&) = delete;
    Code& operator=(const Code&) = delete;
    Code(Code&&) = delete;
    Code& operator=(Code&&) = delete;
    pcre2_code* code;
};

Result<Regex> Regex::compile(std::string_view pattern) {
    if (pattern.size() > kPatternBytesMax)
        return fail(ErrorCode::job_limit,
                    fmt::format("a pattern is longer than {} bytes", kPatternBytesMax));
    if (!is_utf8(pattern)) return fail(ErrorCode::data_invalid, "a pattern is not UTF-8");
    TRY_ASSIGN(const std::string translated, translate(pattern));
    int error = 0;
    PCRE2_SIZE where = 0;
    // MULTILINE: ^ and $ stand at line ends in the files' own library.
    pcre2_code* code = pcre2_compile(
        reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
        PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &where, nullptr);
    if (code == nullptr)
        return fail(ErrorCode::data_invalid,
                    fmt::format("a pattern does not compile: {}", pattern));
    auto holder = std::make_shared<const Code>(code);
    // Without a JIT on this machine the interpreter runs the pattern under the same limits.
    static_cast<void>(pcre2_jit_compile(code, PCRE2_JIT_COMPLETE));
    return Regex(std::move(holder));
}

struct RegexScratch::Memory {
    std::unique_ptr<pcre2_match_data, FreeMatch> match;
    std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
    std::unique_ptr<pcre2_jit_stack, FreeStack> stack;
};

RegexScratch::RegexScratch() : memory_(std::make_unique<Memory>()) {
    memory_->match.reset(pcre2_match_data_create(1, nullptr));
    memory_->context.reset(pcre2_match_context_create(nullptr));
    memory_->stack.reset(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
    if (!memory_->match || !memory_->context || !memory_->stack) throw std::bad_alloc();
    pcre2_set_match_limit(memory_->context.get(), kMatchStepsMax);
    pcre2_set_heap_limit(memory_->context.get(), kHeapKibMax);
    pcre2_jit_stack_assign(memory_->context.get(), nullptr, memory_->stack.get());
}

RegexScratch::~RegexScratch() = default;

Result<std::vector<Range>> Regex::find_all(std::string_view text, RegexScratch& scratch) const {
    pcre2_match_data* match = scratch.memory_->match.get();
    std::vector<Range> out;
    std::size_t at = 0;
    while (at <= text.size()) {
        // The caller's text is valid: checking it at every match would take quadratic time.
        const int rc =
            pcre2_match(code_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                        PCRE2_NO_UTF_CHECK, match, scratch.memory_->context.get());
        if (rc == PCRE2_ERROR_NOMATCH) break;
        if (rc < 0)
            return fail(ErrorCode::job_limit, "the text takes a pattern too many steps to match");
        const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match);
        const Range found{ends[0], ends[1]};
        // \K can put the start behind the end or before the place asked for: no use here.
        const bool odd = found.end < found.begin || found.begin < at;
        const bool again = found.begin == found.end && !out.empty() && out.back().end == found.end;
        if (!odd && !again) out.push_back(found);
        if (!odd && found.end > found.begin) {
            at = found.end;
            continue;
        }
        const std::size_t from = odd ? at : found.end;
        at = from + (from < text.size() ? char_size(text[from]) : 1);
    }
    return out;
}

Result<std::vector<Range>> Pattern::find_all(std::string_view text, RegexScratch& scratch) const {
    if (const auto* regex = std::get_if<Regex>(&what_)) return regex->find_all(text, scratch);
    const std::string& wanted = std::get<std::string>(what_);
    std::vector<Range> out;
    if (wanted.empty()) return out;
    for (std::size_t at = text.find(wanted); at != std::string_view::npos;
         at = text.find(wanted, at + wanted.size()))
        out.push_back({at, at + wanted.size()});
    return out;
}

}  // namespace worker::text

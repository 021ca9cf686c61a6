// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/man_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace marketplace::cli {
namespace {

/// Text that groff prints as it is: in a line of its own, or as an argument between quotes.
std::string escaped(const std::string& text) {
    std::string out;
    for (const char c : text) {
        if (c == '\\') {
            out += "\\e";
        } else if (c == '-') {
            out += "\\-";
        } else if (c == '"') {
            out += "\\(dq";
        } else if (c == '~') {
            out += "\\(ti";
        } else if (c == '^') {
            out += "\\(ha";
        } else {
            out += c == '\n' ? ' ' : c;
        }
    }
    // "…" and the like are in the sources as UTF-8: groff takes them with its preprocessor (-K).
    const bool is_request = !out.empty() && (out.front() == '.' || out.front() == '\'');
    return is_request ? "\\&" + out : out;
}

/// Lines of at most 79 columns, broken at blanks.
std::string filled(const std::string& text) {
    constexpr std::size_t kColumns = 79;
    std::string out;
    std::size_t column = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find(' ', at), text.size());
        const std::string word = text.substr(at, end - at);
        at = end + 1;
        if (word.empty()) continue;
        const std::string safe = column == 0 ? escaped(word) : word;
        if (column > 0 && column + 1 + word.size() > kColumns) {
            out += "\n" + escaped(word);
            column = word.size();
            continue;
        }
        out += (column > 0 ? " " : "") + (column > 0 ? escaped(word) : safe);
        column += word.size() + (column > 0 ? 1 : 0);
    }
    return out + "\n";
}

std::string synopsis_of(const std::string& program, const CommandFacts& command) {
    std::string out = fmt::format("\\fB{}", escaped(program));
    for (const std::string& word : command.path)
        out += " " + escaped(word);
    out += "\\fR";
    const bool has_options =
        std::any_of(command.options.begin(), command.options.end(),
                    [](const OptionFacts& option) { return !option.is_positional; });
    if (has_options) out += " [\\fIOPTION\\fR ...]";
    for (const OptionFacts& option : command.options)
        if (option.is_positional)
            out += option.is_required ? fmt::format(" \\fI{}\\fR", escaped(option.names.front()))
                                      : fmt::format(" [\\fI{}\\fR]", escaped(option.names.front()));
    if (!command.subcommands.empty()) out += " [\\fICOMMAND\\fR]";
    return out + "\n";
}

std::string options_of(const CommandFacts& command) {
    std::string out;
    for (const OptionFacts& option : command.options) {
        std::string head;
        for (const std::string& name : option.names)
            head += fmt::format("{}\\fB{}\\fR", head.empty() ? "" : ", ", escaped(name));
        if (option.is_positional) {
            head = fmt::format("\\fI{}\\fR", escaped(option.names.front()));
        } else if (!option.value.empty()) {
            head += fmt::format(" \\fI{}\\fR", escaped(option.value));
        }
        std::string text = option.text;
        if (!option.choices.empty()) {
            text += text.empty() ? "" : ".";
            std::string list;
            for (const std::string& choice : option.choices)
                list += (list.empty() ? "" : ", ") + choice;
            text += " One of: " + list;
        }
        if (!option.preset.empty()) text += fmt::format(" (default: {})", option.preset);
        if (option.is_repeated) text += " May be given several times.";
        if (option.is_required && !option.is_positional) text += " Required.";
        out += ".TP\n" + head + "\n" + (text.empty() ? ".br\n" : filled(text));
    }
    return out;
}

std::string table_of(const std::string& title,
                     const std::vector<std::pair<std::string, std::string>>& rows) {
    if (rows.empty()) return {};
    std::string out = ".SH " + title + "\n";
    for (const auto& [name, text] : rows)
        out += fmt::format(".TP\n\\fB{}\\fR\n{}", escaped(name), filled(text));
    return out;
}

}  // namespace

std::string man_page(const ManFacts& facts, const std::vector<CommandFacts>& commands) {
    std::string upper = facts.program;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
        return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    });
    const CommandFacts& program = commands.front();
    std::string out =
        fmt::format(".TH {} 1 {} \"{} {}\"\n", upper, facts.date, facts.program, facts.version);
    std::string purpose = program.text;
    while (purpose.ends_with('.'))
        purpose.pop_back();
    out += fmt::format(".SH NAME\n{} \\- {}\n", escaped(facts.program), escaped(purpose));
    out += ".SH SYNOPSIS\n" + synopsis_of(facts.program, program);
    out += ".SH OPTIONS\nThese are taken by every command.\n" + options_of(program);
    out += ".SH COMMANDS\n";
    for (const CommandFacts& command : commands) {
        if (command.path.empty()) continue;
        out += ".SS \"";
        for (std::size_t i = 0; i < command.path.size(); ++i)
            out += (i > 0 ? " " : "") + escaped(command.path[i]);
        out += "\"\n" + synopsis_of(facts.program, command) + ".PP\n" + filled(command.text) +
               options_of(command);
    }
    out += table_of("ENVIRONMENT", facts.environment);
    out += table_of("FILES", facts.files);
    out += table_of("EXIT STATUS", facts.exit_codes);
    return out;
}

}  // namespace marketplace::cli

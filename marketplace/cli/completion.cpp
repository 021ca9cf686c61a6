// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/completion.hpp"

#include <fmt/format.h>

namespace marketplace::cli {
namespace {

std::string joined(const std::vector<std::string>& words, std::string_view separator) {
    std::string out;
    for (const std::string& word : words)
        out += (out.empty() ? "" : std::string(separator)) + word;
    return out;
}

/// In single quotes, for any of the three shells.
std::string quoted(const std::string& text) {
    std::string out = "'";
    for (const char c : text)
        out += c == '\'' ? std::string("'\\''") : std::string(1, c);
    return out + "'";
}

/// What fits behind a command: its subcommands, the choices of its positionals, its options.
std::string words_of(const CommandFacts& command) {
    std::vector<std::string> words = command.subcommands;
    for (const OptionFacts& option : command.options) {
        const auto& more = option.is_positional ? option.choices : option.names;
        words.insert(words.end(), more.begin(), more.end());
    }
    return joined(words, " ");
}

/// The words typed so far name the command; the program's own options fit everywhere.
std::string bash_script(const std::string& program, const std::vector<CommandFacts>& commands) {
    std::string names;
    std::string words;
    std::string values;
    for (const CommandFacts& command : commands) {
        const std::string path = joined(command.path, " ");
        if (!path.empty()) names += (names.empty() ? "" : "|") + quoted(path);
        words += fmt::format("        {}) found={} ;;\n", quoted(path), quoted(words_of(command)));
        for (const OptionFacts& option : command.options) {
            if (option.is_positional || option.value.empty()) continue;
            for (const std::string& name : option.names)
                values +=
                    fmt::format("        {}) values={} ;;\n", quoted(path + ":" + name),
                                quoted(option.choices.empty() ? "-" : joined(option.choices, " ")));
        }
    }
    // zsh has variables of its own named path, words and commands: these are other names.
    constexpr const char* kScript =
        R"(# Completion of {0}: source it, or put it where your shell looks for such scripts.
_{0}_words() {{
    case "$1" in
{2}    esac
}}
_{0}_values() {{
    case "$1" in
{3}    esac
}}
_{0}() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    local at='' i found='' values='' general=''
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$at${{at:+ }}${{COMP_WORDS[i]}}" in
        {1}) at="$at${{at:+ }}${{COMP_WORDS[i]}}" ;;
        esac
    done
    _{0}_words ''
    general=$found
    _{0}_words "$at"
    _{0}_values ":$before"
    _{0}_values "$at:$before"
    case "$values" in
    '') case "$at:$current" in ?*:-*) found="$found $general" ;; esac ;;
    -) found='' ;;
    *) found=$values ;;
    esac
    COMPREPLY=($(compgen -W "$found" -- "$current"))
}}
complete -o default -F _{0} {0}
)";
    return fmt::format(kScript, program, names, words, values);
}

std::string fish_script(const std::string& program, const std::vector<CommandFacts>& commands) {
    std::string out = fmt::format("# Completion of {0}: {0} completion fish | source\n", program);
    for (const CommandFacts& command : commands) {
        // A subcommand fits while its parent was typed and none of its siblings.
        std::string when;
        for (const std::string& word : command.path)
            when +=
                fmt::format("{}__fish_seen_subcommand_from {}", when.empty() ? "" : "; and ", word);
        const std::string here = when;
        if (!command.subcommands.empty())
            when += fmt::format("{}not __fish_seen_subcommand_from {}",
                                when.empty() ? "" : "; and ", joined(command.subcommands, " "));
        for (const std::string& name : command.subcommands)
            out +=
                fmt::format("complete -c {} -n {} -f -a {}\n", program, quoted(when), quoted(name));
        for (const OptionFacts& option : command.options) {
            std::string line = fmt::format("complete -c {}", program);
            if (!here.empty()) line += " -n " + quoted(here);
            if (option.is_positional) {
                if (option.choices.empty()) continue;
                line += " -f -a " + quoted(joined(option.choices, " "));
            } else {
                for (const std::string& name : option.names)
                    line +=
                        name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
                if (!option.value.empty()) line += " -r";
                if (!option.choices.empty())
                    line += " -f -a " + quoted(joined(option.choices, " "));
            }
            out += line + " -d " + quoted(option.text) + "\n";
        }
    }
    return out;
}

}  // namespace

std::string completion_script(const std::string& program, const std::string& shell,
                              const std::vector<CommandFacts>& commands) {
    if (shell == "fish") return fish_script(program, commands);
    // zsh runs the same function in its layer for bash.
    const std::string layer =
        shell == "zsh" ? "autoload -U +X compinit bashcompinit && compinit -u && bashcompinit\n"
                       : "";
    return layer + bash_script(program, commands);
}

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

/// The program's commands and options as data, read from the parser itself: what completion scripts
/// and man pages are made of, so that they cannot differ from what is parsed.
namespace marketplace::cli {

struct OptionFacts {
    std::vector<std::string> names;  ///< "--json", "-y"; of a positional its one name
    std::string value;               ///< "TEXT", "UINT"; empty: a flag
    std::vector<std::string> choices;
    std::string preset;  ///< shown default; empty: none
    std::string text;
    bool is_positional = false;
    bool is_required = false;
    bool is_repeated = false;  ///< may be given several times
};

struct CommandFacts {
    std::vector<std::string> path;  ///< below the program: {"jobs", "watch"}; empty: the program
    std::string text;
    std::string footer;
    std::vector<OptionFacts> options;
    std::vector<std::string> subcommands;
};

/// The program first, then each command before its subcommands, as they were added.
[[nodiscard]] std::vector<CommandFacts> list_commands(const CLI::App& app);

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/command_tree.hpp"

#include <string>
#include <vector>

namespace marketplace::cli {

/// What a man page says beside the commands themselves.
struct ManFacts {
    std::string program;
    std::string version;
    std::string date;  ///< of the version, 2027-01-31
    std::vector<std::pair<std::string, std::string>> environment;
    std::vector<std::pair<std::string, std::string>> files;
    std::vector<std::pair<std::string, std::string>> exit_codes;
};

/// A man page of section 1 with every command, in man(7) macros.
[[nodiscard]] std::string man_page(const ManFacts& facts,
                                   const std::vector<CommandFacts>& commands);

}  // namespace marketplace::cli

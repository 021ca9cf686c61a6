// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/command_tree.hpp"

#include <string>
#include <vector>

namespace marketplace::cli {

/// A script that completes commands, options, choices and file names of `program` in a shell:
/// "bash", "zsh" or "fish". `commands` as list_commands gives them.
[[nodiscard]] std::string completion_script(const std::string& program, const std::string& shell,
                                            const std::vector<CommandFacts>& commands);

}  // namespace marketplace::cli

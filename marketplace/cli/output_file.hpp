// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/cli/terminal.hpp"

#include <string>

namespace marketplace::cli {

/// Writes `text` to a file, in place of what it held, or to `out` for "-". io_error when the file
/// cannot be written.
[[nodiscard]] ledger::base::Result<void> write_output(Terminal& out, const std::string& file,
                                                      const std::string& text);

}  // namespace marketplace::cli

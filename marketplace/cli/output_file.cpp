// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/output_file.hpp"

#include <fstream>

namespace marketplace::cli {

ledger::base::Result<void> write_output(Terminal& out, const std::string& file,
                                        const std::string& text) {
    if (file == "-") {
        out.write(text);
        return {};
    }
    std::ofstream stream(file, std::ios::binary | std::ios::trunc);
    stream << text;
    stream.close();
    if (!stream)
        return ledger::base::fail(ledger::base::ErrorCode::io_error, "cannot write " + file);
    return {};
}

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/wrap.hpp"

#include "marketplace/cli/terminal.hpp"

#include <algorithm>

namespace marketplace::cli {
namespace {

std::string wrap_line(std::string_view line, std::size_t columns, std::size_t indent) {
    const std::size_t begins = std::min(line.find_first_not_of(' '), line.size());
    const std::string margin(begins == 0 ? 0 : std::max(indent, begins), ' ');
    std::string out(line.substr(0, begins));
    std::string row = out;
    out.clear();
    for (std::size_t at = begins; at < line.size();) {
        // Blanks before a word stay with it, so that columns made with them stay columns.
        const std::size_t word = std::min(line.find_first_not_of(' ', at), line.size());
        const std::size_t end = std::min(line.find(' ', word), line.size());
        const bool is_first = row.find_first_not_of(' ') == std::string::npos;
        if (!is_first && display_width(row) + display_width(line.substr(at, end - at)) > columns) {
            out += row + "\n";
            row = margin + std::string(line.substr(word, end - word));
        } else {
            row += line.substr(at, end - at);
        }
        at = end;
    }
    return out + row;
}

}  // namespace

std::string wrap(std::string_view text, std::size_t columns, std::size_t indent) {
    std::string out;
    for (std::size_t at = 0;;) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string_view line = text.substr(at, end - at);
        out +=
            display_width(line) <= columns ? std::string(line) : wrap_line(line, columns, indent);
        if (end == text.size()) return out;
        out += '\n';
        at = end + 1;
    }
}

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace marketplace::cli {

/// The text with lines of at most `columns`, broken at blanks; what follows a break begins at
/// `indent`, or where the line itself begins when that is further in. Words longer than a line
/// stay.
[[nodiscard]] std::string wrap(std::string_view text, std::size_t columns, std::size_t indent);

}  // namespace marketplace::cli

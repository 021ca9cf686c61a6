// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace marketplace::cli {

/// The text with lines of at most `columns`, broken at blanks. A line that begins with blanks goes
/// on at `indent`, or where it began when that is further in; another one at the left. Words longer
/// than a line stay.
[[nodiscard]] std::string wrap(std::string_view text, std::size_t columns, std::size_t indent);

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace ledger::audit::detail {

/// "-1.5" for -1500000 atoms.
[[nodiscard]] std::string tokens(std::int64_t atoms);
/// "2026-11-26T17:22:13Z".
[[nodiscard]] std::string time_text(std::uint64_t time_s);

}  // namespace ledger::audit::detail

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/cli/context.hpp"

namespace marketplace::cli {

/// To `jobs`: `evidence`.
void add_evidence_command(CLI::App& jobs, const Choose& choose);

}  // namespace marketplace::cli

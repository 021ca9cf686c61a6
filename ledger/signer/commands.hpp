// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace ledger::signer {

/// The program `millrace-signer`: run, new-key, import-key, policy. Returns its exit code.
int run_program(int argc, const char* const* argv);

}  // namespace ledger::signer

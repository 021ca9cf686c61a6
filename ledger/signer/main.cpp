// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/commands.hpp"

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    try {
        return ledger::signer::run_program(argc, argv);
    } catch (const std::exception&) {
        std::fputs("millrace-signer: internal: an unexpected failure\n", stderr);
        return 70;
    }
}

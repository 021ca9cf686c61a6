// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/program.hpp"

int main(int argc, char** argv) {
    return marketplace::cli::run_program(argc, argv);
}

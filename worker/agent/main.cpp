// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/program.hpp"

int main(int argc, char** argv) {
    return worker::agent::run_program(argc, argv);
}

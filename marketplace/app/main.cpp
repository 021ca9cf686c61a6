// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/application.hpp"

#include <cstdio>
#include <exception>

int main(int argc, char** argv) {
    try {
        return marketplace::app::run_program(argc, argv);
    } catch (const std::exception&) {
        std::fputs("millrace-market: internal: an unexpected failure\n", stderr);
        return 70;
    }
}

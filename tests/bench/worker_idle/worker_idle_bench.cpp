// SPDX-License-Identifier: Apache-2.0
// What an idle worker costs the machine it stands on. What starts and measures it is
// worker_idle.mjs; this program only finds it.
#include <unistd.h>

#include <array>
#include <cstdio>

int main(int argc, char** argv) {
    std::array<char*, 16> arguments{};
    char node[] = "node";
    char script[] = "tests/bench/worker_idle/worker_idle.mjs";
    arguments[0] = node;
    arguments[1] = script;
    for (int i = 1; i < argc && i < 14; ++i)
        arguments[static_cast<std::size_t>(i) + 1] = argv[i];
    ::execvp(node, arguments.data());
    std::perror("node");
    return 1;
}

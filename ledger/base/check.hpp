// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdio>
#include <cstdlib>

namespace ledger::base {

/// Ends the process with a message: a broken invariant is never carried on with.
[[noreturn]] inline void check_failed(const char* expression, const char* file, int line) {
    std::fprintf(stderr, "CHECK failed: %s at %s:%d\n", expression, file, line);
    std::abort();
}

}  // namespace ledger::base

/// Always on, one condition each, for our own bugs only and never for input.
#define MR_CHECK(condition)                                               \
    do {                                                                  \
        if (!(condition)) [[unlikely]]                                    \
            ::ledger::base::check_failed(#condition, __FILE__, __LINE__); \
    } while (false)

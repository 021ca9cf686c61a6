// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/error.hpp"

#include <tl/expected.hpp>

namespace ledger::base {

/// A value or an expected failure. Exceptions mean a bug or an exhausted resource.
template <typename T>
using Result = tl::expected<T, Error>;

/// Builds the failing side: `return fail(ErrorCode::not_found, "order ord_…");`
[[nodiscard]] inline tl::unexpected<Error> fail(ErrorCode code, std::string detail = {}) {
    return tl::unexpected<Error>(Error(code, std::move(detail)));
}

}  // namespace ledger::base

#define MILLRACE_CONCAT_(a, b) a##b
#define MILLRACE_CONCAT(a, b) MILLRACE_CONCAT_(a, b)

/// Evaluates a Result; on failure returns its error from the enclosing function.
/// Not for coroutines: use an explicit `if`.
#define TRY(expr)                                                          \
    do {                                                                   \
        auto&& try_result_ = (expr);                                       \
        if (!try_result_) return tl::make_unexpected(try_result_.error()); \
    } while (false)

/// Like TRY, and binds the value: `TRY_ASSIGN(const auto money, Money::parse(text));`
#define TRY_ASSIGN(declaration, expr)                                              \
    auto MILLRACE_CONCAT(try_value_, __LINE__) = (expr);                           \
    if (!MILLRACE_CONCAT(try_value_, __LINE__))                                    \
        return tl::make_unexpected(MILLRACE_CONCAT(try_value_, __LINE__).error()); \
    declaration = std::move(*MILLRACE_CONCAT(try_value_, __LINE__))

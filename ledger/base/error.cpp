// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/error.hpp"

#include <fmt/format.h>

namespace ledger::base {

std::string_view to_string(ErrorCode code) noexcept {
    switch (code) {
#define MILLRACE_ERROR_NAME(name, help) \
    case ErrorCode::name:               \
        return #name;
        MILLRACE_ERROR_CODES(MILLRACE_ERROR_NAME)
#undef MILLRACE_ERROR_NAME
    }
    return "internal";
}

std::optional<ErrorCode> parse_error_code(std::string_view text) noexcept {
#define MILLRACE_ERROR_PARSE(name, help) \
    if (text == #name) return ErrorCode::name;
    MILLRACE_ERROR_CODES(MILLRACE_ERROR_PARSE)
#undef MILLRACE_ERROR_PARSE
    return std::nullopt;
}

std::string_view help_for(ErrorCode code) noexcept {
    switch (code) {
#define MILLRACE_ERROR_HELP(name, help) \
    case ErrorCode::name:               \
        return help;
        MILLRACE_ERROR_CODES(MILLRACE_ERROR_HELP)
#undef MILLRACE_ERROR_HELP
    }
    return "report the incident id; nothing was changed";
}

std::string Error::message() const {
    if (detail_.empty()) return fmt::format("{}: {}", to_string(code_), help_for(code_));
    return fmt::format("{}: {} ({})", to_string(code_), detail_, help_for(code_));
}

}  // namespace ledger::base

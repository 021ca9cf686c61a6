// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace marketplace::api {

/// One field of a form (RFC 7578). `content` points into the body that was parsed.
struct FormPart {
    std::string name;
    std::optional<std::string> filename;
    std::string_view content;
};

/// The parts of a multipart/form-data body, at most 32. invalid_request says what is wrong with the
/// body or its content type.
[[nodiscard]] ledger::base::Result<std::vector<FormPart>> parse_form(std::string_view content_type,
                                                                     std::string_view body);

}  // namespace marketplace::api

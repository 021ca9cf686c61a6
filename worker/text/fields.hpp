// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/text/regex.hpp"
#include "worker/text/value.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// Reading the parts of a tokenizer file. Every error is data_invalid and names the field, or
/// unsupported and names the part.
namespace worker::text {

[[nodiscard]] ledger::base::Result<std::string> text_field(const Value& of, std::string_view name);
/// `otherwise` when the field is absent or null.
[[nodiscard]] ledger::base::Result<std::string> text_field_or(const Value& of,
                                                              std::string_view name,
                                                              std::string otherwise);
[[nodiscard]] ledger::base::Result<bool> flag_field(const Value& of, std::string_view name,
                                                    bool otherwise);
/// A count of at most `max`.
[[nodiscard]] ledger::base::Result<std::size_t> count_field(const Value& of, std::string_view name,
                                                            std::size_t max);
/// The field "pattern": {"String": …} or {"Regex": …}.
[[nodiscard]] ledger::base::Result<Pattern> pattern_field(const Value& of);

/// The steps behind `part`, in order: none for null, those of a Sequence (even of one inside
/// another), or the part itself. `items` names the list in a Sequence. Errors: data_invalid,
/// job_limit (more than limits::kSteps).
[[nodiscard]] ledger::base::Result<std::vector<Value>> steps_of(const Value* part,
                                                                std::string_view items);

/// Says that the file asks for something we do not have: "the normalizer Nmt".
[[nodiscard]] tl::unexpected<ledger::base::Error> unsupported_part(std::string_view kind,
                                                                   std::string_view name);

}  // namespace worker::text

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "worker/executor/folder_model.hpp"
#include "worker/model/examples.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace worker::executor {

/// Longest line of a file of examples, in bytes.
inline constexpr std::size_t kExampleBytesMax = std::size_t{1} << 20U;

/// Turns one line of JSON into an example:
///   {"messages":[…],"tools":[…]}    through the model's chat template; what the assistant says
///                                   counts, unless the message has "weight": 0
///   {"prompt":"…","completion":"…"} the completion and the end of the text count
///   {"text":"…"}                    all of it counts
/// data_invalid says what is wrong; unsupported: messages, but no template that is understood.
[[nodiscard]] ledger::base::Result<void> add_example(std::string_view line,
                                                     const FolderWords& words,
                                                     model::ExampleSet& examples);

/// Reads a file of one example per line; empty lines are passed over. Errors as above, with the
/// line's number; a line of more than kExampleBytesMax is refused before it is read.
[[nodiscard]] ledger::base::Result<model::ExampleSet> read_examples(
    const std::filesystem::path& file, const FolderWords& words, std::uint32_t context);

}  // namespace worker::executor

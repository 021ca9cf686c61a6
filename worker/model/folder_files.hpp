// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/json_reader.hpp"

#include <map>
#include <string>
#include <string_view>

namespace worker::model {

/// A field of 0x and 64 hex digits.
[[nodiscard]] ledger::base::Result<ledger::base::Hash32> read_hash(const FieldReader& in,
                                                                   std::string_view name);

/// The blobs of a model folder's files, by name. A name has 1 to 128 letters, digits, '-', '_' and
/// '.', and does not begin with a dot.
using FileBlobs = std::map<std::string, ledger::base::Hash32>;

/// The field "files" of a job spec: at most 256, with a config, weights and a tokenizer among them.
/// The errors are those of `in`.
[[nodiscard]] ledger::base::Result<FileBlobs> read_folder_files(const FieldReader& in,
                                                                const JsonValue& files);

}  // namespace worker::model

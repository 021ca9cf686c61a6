// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

/// Files that are on the disk when the call returns.
namespace worker::agent {

/// Writes a file whole: temporary file, fsync, rename, fsync of the folder. `mode` as in chmod.
[[nodiscard]] ledger::base::Result<void> write_file(const std::filesystem::path& path,
                                                    std::string_view text, unsigned mode = 0600);

/// Appends bytes and syncs. io_error leaves a cut record at most.
[[nodiscard]] ledger::base::Result<void> append_file(const std::filesystem::path& path,
                                                     ledger::base::ByteView bytes);

/// Reads at most `max_bytes`; too_large above. data_missing when there is no such file.
[[nodiscard]] ledger::base::Result<std::string> read_file(const std::filesystem::path& path,
                                                          std::size_t max_bytes);

/// Records of `size` bytes followed by the first 8 bytes of their SHA-256.
[[nodiscard]] ledger::base::Bytes seal_record(ledger::base::ByteView record);
/// Splits a file of sealed records. A cut or damaged last record is dropped and cut off the file;
/// damage before the last is invalid_encoding.
[[nodiscard]] ledger::base::Result<std::vector<ledger::base::Bytes>> read_records(
    const std::filesystem::path& path, std::size_t size);

}  // namespace worker::agent

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>

namespace worker::model {

/// A long row of symbols (bytes or tokens) that can be read anywhere. Files stay mapped.
class SymbolSource {
 public:
    virtual ~SymbolSource() = default;
    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
    /// Symbols [place, place + out.size()), which must lie inside.
    virtual void read(std::uint64_t place, std::span<std::int64_t> out) const = 0;
};

using SymbolSourcePtr = std::unique_ptr<SymbolSource>;

// Every open: data_missing without a file, data_invalid when nothing is in it.

/// The bytes of a text.
[[nodiscard]] ledger::base::Result<SymbolSourcePtr> open_text(const std::filesystem::path& path);

/// The string `field` of each line's JSON object, as bytes, each text ended by a newline. Empty
/// lines count for nothing. data_invalid names the line that is longer than 1 MiB, is no JSON
/// object or lacks the field. All lines are read once at opening; afterwards only those that are
/// asked for.
[[nodiscard]] ledger::base::Result<SymbolSourcePtr> open_jsonl(const std::filesystem::path& path,
                                                               const std::string& field);

/// Tokens in NumPy's array format (.npy): one dimension, little-endian, unsigned, 16 or 32 bits.
/// data_invalid names the first token that is not below `vocab`.
[[nodiscard]] ledger::base::Result<SymbolSourcePtr> open_tokens(const std::filesystem::path& path,
                                                                std::uint32_t vocab);

}  // namespace worker::model

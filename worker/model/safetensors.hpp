// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "worker/model/mapped_file.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

/// The safetensors format: 8 bytes of header length (little endian), a JSON header, raw tensors.
namespace worker::model {

enum class Dtype : std::uint8_t { kF64, kF32, kF16, kBf16, kI64, kI32, kI16, kI8, kU8, kBool };
[[nodiscard]] std::string_view to_string(Dtype dtype) noexcept;
[[nodiscard]] std::size_t size_of(Dtype dtype) noexcept;

struct TensorView {
    std::string name;
    Dtype dtype = Dtype::kF32;
    std::vector<std::int64_t> shape;
    ledger::base::ByteView data;
};

using Metadata = std::map<std::string, std::string>;

/// A parsed file. Every byte range was checked: inside the file, of the size that dtype and shape
/// give, without overlap or gap. Views live as long as the bytes.
struct SafetensorsIndex {
    std::vector<TensorView> tensors;  // in the order of their bytes
    Metadata metadata;

    /// Null when there is none of that name.
    [[nodiscard]] const TensorView* find(std::string_view name) const;
};

/// data_invalid says what is wrong with the file.
[[nodiscard]] ledger::base::Result<SafetensorsIndex> parse_safetensors(
    ledger::base::ByteView bytes);

/// A mapped file and its index.
class SafetensorsFile {
 public:
    [[nodiscard]] static ledger::base::Result<SafetensorsFile> open(
        const std::filesystem::path& path);
    [[nodiscard]] const SafetensorsIndex& index() const noexcept { return index_; }

 private:
    SafetensorsFile(MappedFile file, SafetensorsIndex index)
        : file_(std::move(file)), index_(std::move(index)) {}
    MappedFile file_;
    SafetensorsIndex index_;
};

struct WrittenFile {
    ledger::base::Hash32 sha256;
    std::uint64_t bytes = 0;
};

/// Writes to a temporary name beside `path`, hashing on the way, and renames: the file is whole or
/// not there. The data starts at a multiple of 64 bytes. disk_full and io_error leave nothing.
[[nodiscard]] ledger::base::Result<WrittenFile> write_safetensors(
    const std::filesystem::path& path, const std::vector<TensorView>& tensors,
    const Metadata& metadata);

/// Gives the bytes of a tensor, valid until the next call.
using TensorMaker = std::function<ledger::base::Result<ledger::base::ByteView>(const TensorView&)>;

/// The same for tensors that are made one at a time: of `tensors` only name, type and shape count.
[[nodiscard]] ledger::base::Result<WrittenFile> write_safetensors(
    const std::filesystem::path& path, const std::vector<TensorView>& tensors,
    const Metadata& metadata, const TensorMaker& make);

}  // namespace worker::model

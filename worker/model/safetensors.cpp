// SPDX-License-Identifier: Apache-2.0
#include "worker/model/safetensors.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/checked.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/model/json_reader.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <limits>
#include <optional>

namespace worker::model {

using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "tensors are copied as they are");

namespace {

constexpr std::uint64_t kHeaderBytesMax = 64ULL * 1024 * 1024;
constexpr std::size_t kTensorsMax = 100'000;
constexpr std::size_t kRankMax = 8;
constexpr std::size_t kNameBytesMax = 512;  // names come back in messages

struct DtypeRow {
    Dtype dtype;
    std::string_view name;
    std::size_t size;
};
constexpr std::array<DtypeRow, 10> kDtypes{{{Dtype::kF64, "F64", 8},
                                            {Dtype::kF32, "F32", 4},
                                            {Dtype::kF16, "F16", 2},
                                            {Dtype::kBf16, "BF16", 2},
                                            {Dtype::kI64, "I64", 8},
                                            {Dtype::kI32, "I32", 4},
                                            {Dtype::kI16, "I16", 2},
                                            {Dtype::kI8, "I8", 1},
                                            {Dtype::kU8, "U8", 1},
                                            {Dtype::kBool, "BOOL", 1}}};

tl::unexpected<ledger::base::Error> invalid(std::string detail) {
    return fail(ErrorCode::data_invalid, "safetensors: " + std::move(detail));
}

Result<std::vector<std::int64_t>> read_shape(const std::string& name,
                                             const std::vector<JsonValue>& shape) {
    std::vector<std::int64_t> out;
    for (const JsonValue& extent : shape) {
        const auto number = extent.number();
        if (!number || *number > (1ULL << 48U))
            return invalid(name + ": an extent is not a number below 2^48");
        out.push_back(static_cast<std::int64_t>(*number));
    }
    return out;
}

Result<TensorView> read_tensor(const std::string& name, const JsonValue& entry, ByteView data) {
    const FieldReader in(entry, name, ErrorCode::data_invalid);
    TRY(in.only({"dtype", "shape", "data_offsets"}));
    TRY_ASSIGN(const std::string dtype, in.text("dtype", 8));
    const auto* const row = std::find_if(kDtypes.begin(), kDtypes.end(),
                                         [&](const DtypeRow& r) { return r.name == dtype; });
    if (row == kDtypes.end()) return invalid(name + ": dtype is not supported");
    if (!in.has("shape") || !in.has("data_offsets"))
        return invalid(name + ": shape or data_offsets is missing");
    TRY_ASSIGN(const auto extents, in.list("shape", kRankMax));
    TRY_ASSIGN(auto shape, read_shape(name, extents));
    TRY_ASSIGN(const auto offsets, in.list("data_offsets", 2));
    if (offsets.size() != 2) return invalid(name + ": data_offsets must be two numbers");
    const auto begin = offsets[0].number();
    const auto end = offsets[1].number();
    if (!begin || !end || *begin > *end || *end > data.size())
        return invalid(name + ": data_offsets lie outside the file");
    std::uint64_t bytes = row->size;
    for (const std::int64_t extent : shape) {
        const auto product = ledger::base::checked_mul(bytes, static_cast<std::uint64_t>(extent));
        if (!product) return invalid(name + ": the shape passes 64 bits");
        bytes = *product;
    }
    if (bytes != *end - *begin)
        return invalid(fmt::format("{}: dtype and shape give {} bytes, data_offsets {}", name,
                                   bytes, *end - *begin));
    return TensorView{name, row->dtype, std::move(shape), data.subspan(*begin, bytes)};
}

Result<Metadata> read_metadata(const JsonValue& entry) {
    if (!entry.is_object()) return invalid("__metadata__ must be an object");
    Metadata out;
    for (const auto& [name, value] : entry.members()) {
        if (value.text() == nullptr) return invalid("__metadata__ holds only strings");
        out.emplace(name, *value.text());
    }
    return out;
}

/// The tensors must tile the data exactly: a hidden gap would be bytes that no hash explains.
Result<void> check_tiling(std::vector<TensorView>& tensors, ByteView data) {
    std::stable_sort(tensors.begin(), tensors.end(), [](const TensorView& a, const TensorView& b) {
        if (a.data.data() != b.data.data()) return a.data.data() < b.data.data();
        return a.data.size() < b.data.size();
    });
    const std::uint8_t* next = data.data();
    for (const TensorView& tensor : tensors) {
        if (tensor.data.data() < next) return invalid(tensor.name + " overlaps another tensor");
        if (tensor.data.data() > next) return invalid("a gap lies before " + tensor.name);
        next += tensor.data.size();
    }
    if (next != data.data() + data.size()) return invalid("bytes follow the last tensor");
    return {};
}

/// Bytes that type and shape give.
std::uint64_t bytes_of(const TensorView& tensor) {
    std::uint64_t bytes = size_of(tensor.dtype);
    for (const std::int64_t extent : tensor.shape)
        bytes *= static_cast<std::uint64_t>(extent);
    return bytes;
}

std::string encode_header(const std::vector<TensorView>& tensors, const Metadata& metadata) {
    json header = json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    std::uint64_t offset = 0;
    for (const TensorView& tensor : tensors) {
        const std::uint64_t end = offset + bytes_of(tensor);
        header[tensor.name] = {{"dtype", std::string(to_string(tensor.dtype))},
                               {"shape", tensor.shape},
                               {"data_offsets", {offset, end}}};
        offset = end;
    }
    std::string text = header.dump();
    while ((text.size() + 8) % 64 != 0)
        text.push_back(' ');
    return text;
}

/// A file written under a temporary name, hashed as it grows, removed unless committed.
class HashedWriter {
 public:
    explicit HashedWriter(const std::filesystem::path& path)
        : path_(path),
          temporary_(path.string() + ".part"),
          fd_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                     0644)) {}
    ~HashedWriter() {
        if (fd_ >= 0) ::close(fd_);
        if (!committed_) ::unlink(temporary_.c_str());
    }
    HashedWriter(const HashedWriter&) = delete;
    HashedWriter& operator=(const HashedWriter&) = delete;

    Result<void> write(ByteView bytes) {
        if (fd_ < 0) return fail(ErrorCode::io_error, "the checkpoint file cannot be created");
        // Piecewise, so that the hash reads what the write has just brought into the cache.
        constexpr std::size_t kPiece = 1U << 20U;
        while (!bytes.empty()) {
            const ByteView piece = bytes.first(std::min(bytes.size(), kPiece));
            const ssize_t done = ::write(fd_, piece.data(), piece.size());
            if (done < 0 && errno == EINTR) continue;
            if (done <= 0)
                return fail(errno == ENOSPC || errno == EFBIG || errno == EDQUOT
                                ? ErrorCode::disk_full
                                : ErrorCode::io_error,
                            "the checkpoint cannot be written");
            hash_.update(piece.first(static_cast<std::size_t>(done)));
            written_ += static_cast<std::uint64_t>(done);
            bytes = bytes.subspan(static_cast<std::size_t>(done));
        }
        return {};
    }

    Result<WrittenFile> commit() {
        if (::close(std::exchange(fd_, -1)) != 0 ||
            ::rename(temporary_.c_str(), path_.c_str()) != 0)
            return fail(ErrorCode::io_error, "the checkpoint cannot be put in place");
        committed_ = true;
        return WrittenFile{hash_.finish(), written_};
    }

 private:
    std::filesystem::path path_;
    std::string temporary_;
    int fd_;
    bool committed_ = false;
    ledger::base::Sha256 hash_;
    std::uint64_t written_ = 0;
};

}  // namespace

std::string_view to_string(Dtype dtype) noexcept {
    return kDtypes[static_cast<std::size_t>(dtype)].name;
}

std::size_t size_of(Dtype dtype) noexcept {
    return kDtypes[static_cast<std::size_t>(dtype)].size;
}

const TensorView* SafetensorsIndex::find(std::string_view name) const {
    const auto it = std::find_if(tensors.begin(), tensors.end(),
                                 [&](const TensorView& t) { return t.name == name; });
    return it == tensors.end() ? nullptr : &*it;
}

Result<SafetensorsIndex> parse_safetensors(ByteView bytes) {
    if (bytes.size() < 8) return invalid("the file is shorter than its length field");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    if (length > kHeaderBytesMax)
        return invalid(fmt::format("the header is longer than {} bytes", kHeaderBytesMax));
    if (length > bytes.size() - 8) return invalid("the header is cut off");
    const ByteView header = bytes.subspan(8, length);
    const ByteView data = bytes.subspan(8 + length);
    if (header.empty() || header[0] != '{') return invalid("the header must begin with {");
    const auto parsed = JsonValue::parse(ledger::base::as_text(header), 4);
    if (!parsed) return invalid("the header: " + parsed.error().detail());
    if (parsed->size() > kTensorsMax) return invalid("more than 100000 tensors");
    SafetensorsIndex index;
    for (const auto& [name, value] : parsed->members()) {
        if (name == "__metadata__") {
            TRY_ASSIGN(index.metadata, read_metadata(value));
            continue;
        }
        if (name.size() > kNameBytesMax) return invalid("a name is longer than 512 bytes");
        TRY_ASSIGN(TensorView tensor, read_tensor(name, value, data));
        index.tensors.push_back(std::move(tensor));
    }
    TRY(check_tiling(index.tensors, data));
    return index;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::filesystem::path& path) {
    TRY_ASSIGN(MappedFile file, MappedFile::open(path));
    TRY_ASSIGN(SafetensorsIndex index, parse_safetensors(file.bytes()));
    return SafetensorsFile(std::move(file), std::move(index));
}

Result<WrittenFile> write_safetensors(const std::filesystem::path& path,
                                      const std::vector<TensorView>& tensors,
                                      const Metadata& metadata) {
    return write_safetensors(path, tensors, metadata, [](const TensorView& tensor) {
        return Result<ByteView>(tensor.data);
    });
}

Result<WrittenFile> write_safetensors(const std::filesystem::path& path,
                                      const std::vector<TensorView>& tensors,
                                      const Metadata& metadata, const TensorMaker& make) {
    const std::string header = encode_header(tensors, metadata);
    std::array<std::uint8_t, 8> length{};
    const std::uint64_t size = header.size();
    std::memcpy(length.data(), &size, 8);
    HashedWriter out(path);
    TRY(out.write(length));
    TRY(out.write(ledger::base::as_bytes(header)));
    for (const TensorView& tensor : tensors) {
        TRY_ASSIGN(const ByteView data, make(tensor));
        MR_CHECK(data.size() == bytes_of(tensor));
        TRY(out.write(data));
    }
    return out.commit();
}

}  // namespace worker::model

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/domain/codec.hpp"

#include <cstdint>
#include <functional>
#include <utility>

namespace marketplace::engine {

/// Where a snapshot's bytes go, piece by piece.
using Sink = std::function<void(ledger::base::ByteView)>;

/// The codec's writer for states larger than one wants in memory twice.
class SnapshotWriter {
 public:
    explicit SnapshotWriter(Sink sink) : sink_(std::move(sink)) { bytes_.reserve(2 * kPieceBytes); }
    ~SnapshotWriter() = default;
    SnapshotWriter(const SnapshotWriter&) = delete;
    SnapshotWriter& operator=(const SnapshotWriter&) = delete;

    template <typename... T>
    void operator()(const T&... values) {
        domain::Writer writer(bytes_);
        writer(values...);
        if (bytes_.size() >= kPieceBytes) flush();
    }
    /// A count of things that follow.
    void count(std::size_t size) { (*this)(static_cast<std::uint64_t>(size)); }
    void flush() {
        written_ += bytes_.size();
        sink_(bytes_);
        bytes_.clear();
    }
    /// All bytes given to the sink.
    [[nodiscard]] std::uint64_t written() const noexcept { return written_; }

 private:
    static constexpr std::size_t kPieceBytes = 1 << 20;

    Sink sink_;
    domain::Bytes bytes_;
    std::uint64_t written_ = 0;
};

/// A count that SnapshotWriter wrote. Each of the things takes at least `least_bytes`: a count past
/// the bytes that are left is a lie, and refused before anybody makes room for it.
[[nodiscard]] inline std::uint64_t read_count(domain::Reader& reader, std::size_t least_bytes) {
    std::uint64_t count = 0;
    reader(count);
    if (!reader.ok() || count > reader.remaining() / least_bytes) {
        reader.refuse();
        return 0;
    }
    return count;
}

}  // namespace marketplace::engine

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/journal.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/domain/codec.hpp"

namespace marketplace::engine {
namespace {

using domain::Bytes;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr std::uint8_t kVersion = 4;

void write_u32(Bytes& out, std::size_t at, std::size_t value) {
    for (std::size_t i = 0; i < 4; ++i)
        out[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

/// Length before the bytes; the length is filled in after they are written.
template <typename T>
void write_sized(Bytes& out, const T& value) {
    const std::size_t at = out.size();
    out.resize(at + 4);
    encode(out, value);
    write_u32(out, at, out.size() - at - 4);
}

ByteView read_sized(domain::Reader& reader) {
    std::uint32_t size = 0;
    reader(size);
    return reader.take(size);
}

}  // namespace

Bytes encode_record(const Record& record) {
    Bytes out;
    out.reserve(512);
    domain::Writer writer(out);
    writer(kVersion, record.sequence, record.time_ms, record.previous);
    write_sized(out, record.command);
    writer(static_cast<std::uint32_t>(record.events.size()));
    for (const domain::Event& event : record.events)
        write_sized(out, event);
    writer(record.state_hash);
    return out;
}

Result<Record> decode_record(ByteView bytes) {
    domain::Reader reader(bytes);
    Record record;
    std::uint8_t version = 0;
    reader(version, record.sequence, record.time_ms, record.previous);
    if (!reader.ok()) return fail(ErrorCode::invalid_encoding, "record head");
    if (version != kVersion) return fail(ErrorCode::unsupported, "record version");
    const ByteView command = read_sized(reader);
    if (!reader.ok()) return fail(ErrorCode::invalid_encoding, "record command");
    TRY_ASSIGN(record.command, domain::decode_command(command));
    std::uint32_t count = 0;
    reader(count);
    // An event takes at least its length and its kind.
    if (!reader.ok() || count > reader.remaining() / 5)
        return fail(ErrorCode::invalid_encoding, "record events");
    record.events.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i) {
        const ByteView event = read_sized(reader);
        if (!reader.ok()) return fail(ErrorCode::invalid_encoding, "record event");
        TRY_ASSIGN(auto decoded, domain::decode_event(event));
        record.events.push_back(std::move(decoded));
    }
    reader(record.state_hash);
    if (!reader.complete()) return fail(ErrorCode::invalid_encoding, "record end");
    return record;
}

bool holds_sealed_bid(const Record& record) {
    const domain::PostJob* job = std::get_if<domain::PostJob>(&record.command);
    if (const auto* amended = std::get_if<domain::AmendJob>(&record.command))
        job = &amended->replacement;
    return job != nullptr && job->legs.front().constraints.clearing == domain::Clearing::kBatch;
}

domain::Hash32 record_hash(ByteView bytes) {
    return ledger::base::sha256(bytes);
}

}  // namespace marketplace::engine

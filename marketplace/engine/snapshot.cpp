// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/snapshot.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/domain/codec.hpp"

#include <array>
#include <string>

namespace marketplace::engine {
namespace {

using domain::Hash32;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr std::array<std::uint8_t, 8> kMagic = {'m', 'r', 's', 'n', 'a', 'p', '\r', '\n'};
/// Of the form and of what it stores: raise it whenever the engine or the market data keep
/// something else, or the rules of the exchange change.
constexpr std::uint32_t kVersion = 4;
constexpr std::size_t kTailBytes = 3 * 8 + Hash32::kSize;

Hash32 hash_of(const EngineConfig& config) {
    domain::Bytes bytes;
    domain::Writer writer(bytes);
    writer(config.domain.chain_id, config.domain.contract, config.operator_address,
           config.max_failovers, config.voucher_period_atoms, config.batch_period_ms);
    return ledger::base::sha256(bytes);
}

}  // namespace

Result<void> Snapshot::follow(ByteView bytes) {
    TRY_ASSIGN(const Record record, decode_record(bytes));
    const auto wrong = [this](const char* what) {
        return fail(ErrorCode::audit_failed,
                    "journal record " + std::to_string(records) + " does not " + what);
    };
    if (record.sequence != records || record.previous != last_record)
        return wrong("follow the one before");
    const auto events = engine.apply(record.command, record.time_ms);
    if (!events || *events != record.events || engine.state_hash() != record.state_hash)
        return wrong("replay");
    market.add(record);
    log.append_data(bytes);
    last_record = record_hash(bytes);
    ++records;
    return {};
}

void write_snapshot(const SnapshotView& snapshot, const EngineConfig& config, const Sink& sink) {
    ledger::base::Sha256 hash;
    SnapshotWriter out([&](ByteView bytes) {
        hash.update(bytes);
        sink(bytes);
    });
    out(kMagic, kVersion, hash_of(config), snapshot.records, snapshot.last_record,
        snapshot.engine.state_hash());
    out.flush();
    std::uint64_t before = out.written();
    const auto end_part = [&] {
        out.flush();
        return out.written() - std::exchange(before, out.written());
    };
    std::array<std::uint64_t, 3> lengths{};
    snapshot.engine.save(out);
    lengths[0] = end_part();
    snapshot.market.save(out);
    lengths[1] = end_part();
    for (const Hash32& leaf : snapshot.log.leaves())
        out(leaf);
    lengths[2] = end_part();
    out(lengths);
    out.flush();
    sink(hash.finish().span());
}

Result<SnapshotReader> SnapshotReader::open(ByteView bytes, const EngineConfig& config) {
    SnapshotReader out;
    out.bytes_ = bytes;
    out.config_ = config;
    domain::Reader in(bytes);
    std::array<std::uint8_t, kMagic.size()> magic{};
    std::uint32_t version = 0;
    Hash32 rules;
    in(magic, version);
    if (!in.ok() || magic != kMagic) return fail(ErrorCode::invalid_encoding, "not a snapshot");
    if (version != kVersion)
        return fail(ErrorCode::unsupported, "snapshot version " + std::to_string(version));
    in(rules, out.records_, out.last_record_, out.state_hash_);
    if (!in.ok() || in.remaining() < kTailBytes)
        return fail(ErrorCode::invalid_encoding, "the snapshot is cut");
    if (rules != hash_of(config))
        return fail(ErrorCode::config_invalid, "the snapshot is of a market with other rules");
    ByteView parts = in.take(in.remaining() - kTailBytes);
    std::array<std::uint64_t, 3> lengths{};
    in(lengths);
    for (const auto& [length, part] :
         {std::pair(lengths[0], &out.engine_), std::pair(lengths[1], &out.market_),
          std::pair(lengths[2], &out.log_)}) {
        if (length > parts.size()) return fail(ErrorCode::invalid_encoding, "the snapshot is cut");
        *part = parts.first(length);
        parts = parts.subspan(length);
    }
    if (!parts.empty()) return fail(ErrorCode::invalid_encoding, "the snapshot's parts");
    return out;
}

bool SnapshotReader::is_whole() const {
    const std::size_t size = bytes_.size() - Hash32::kSize;
    return ledger::base::sha256(bytes_.first(size)) ==
           Hash32(bytes_.subspan(size).first<Hash32::kSize>());
}

Result<Engine> SnapshotReader::engine() const {
    TRY_ASSIGN(Engine engine, Engine::load(config_, engine_));
    if (engine.state_hash() != state_hash_)
        return fail(ErrorCode::invalid_encoding, "the snapshot's state hash");
    return engine;
}

Result<MarketData> SnapshotReader::market() const {
    TRY_ASSIGN(MarketData market, MarketData::load(market_));
    if (market.sequence() ? *market.sequence() + 1 != records_ : records_ != 0)
        return fail(ErrorCode::invalid_encoding, "the snapshot's market data");
    return market;
}

Result<ledger::log::MerkleTree> SnapshotReader::log() const {
    if (log_.size() % Hash32::kSize != 0 || log_.size() / Hash32::kSize != records_)
        return fail(ErrorCode::invalid_encoding, "the snapshot's log");
    std::vector<Hash32> leaves;
    leaves.reserve(records_);
    for (ByteView rest = log_; !rest.empty(); rest = rest.subspan(Hash32::kSize))
        leaves.emplace_back(rest.first<Hash32::kSize>());
    return ledger::log::MerkleTree(std::move(leaves));
}

}  // namespace marketplace::engine

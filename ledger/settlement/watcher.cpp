// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/watcher.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>

namespace ledger::settlement {

using base::ErrorCode;
using base::fail;
using base::Result;
using rpc::BlockTag;

Watcher::Watcher(rpc::Chain& chain, Deployment deployment, WatcherOptions options)
    : chain_(chain), deployment_(std::move(deployment)), options_(options) {
    MR_CHECK(options_.finality_depth >= 1);
    MR_CHECK(options_.blocks_per_poll >= 1);
}

WatchCursor Watcher::beginning() const noexcept {
    return {deployment_.block, base::Hash32()};
}

namespace {

/// The event of one of the market's contracts; empty when it is none we use.
Result<std::optional<ChainEvent>> decode_entry(const Deployment& deployment,
                                               const rpc::LogEntry& entry) {
    ChainEvent event;
    event.block_number = entry.block_number;
    event.log_index = entry.log_index;
    event.transaction_hash = entry.transaction_hash;
    if (entry.address == deployment.leases) {
        TRY_ASSIGN(std::optional<LeasesEvent> decoded, decode_leases_event(entry));
        if (!decoded) return std::nullopt;
        event.event = std::move(*decoded);
    } else if (entry.address == deployment.escrow) {
        TRY_ASSIGN(const std::optional<EscrowEvent> decoded, decode_escrow_event(entry));
        if (!decoded) return std::nullopt;
        event.event = *decoded;
    } else {
        TRY_ASSIGN(const std::optional<Anchored> decoded, decode_receipt_log_event(entry));
        if (!decoded) return std::nullopt;
        event.event = *decoded;
    }
    return event;
}

}  // namespace

Result<WatchBatch> Watcher::poll(const WatchCursor& from) {
    WatchBatch batch;
    batch.cursor = from;
    TRY_ASSIGN(const rpc::BlockHead head, chain_.block(BlockTag::Name::kLatest));
    batch.head_number = head.number;
    batch.head_time_s = head.time_s;
    if (!from.last_hash.is_zero()) {
        const std::uint64_t last = from.next_block - 1;
        if (head.number < last)
            return fail(ErrorCode::chain_unreachable, "the node is behind what was read before");
        TRY_ASSIGN(const rpc::BlockHead known, chain_.block(BlockTag::number(last)));
        if (known.hash != from.last_hash)
            return fail(ErrorCode::chain_mismatch,
                        "block " + std::to_string(last) + " was final and is another one now");
    }
    if (head.number + 1 < options_.finality_depth + from.next_block) return batch;
    const std::uint64_t final_block = head.number + 1 - options_.finality_depth;
    const std::uint64_t to =
        std::min(final_block, from.next_block + (options_.blocks_per_poll - 1));
    TRY_ASSIGN(const rpc::BlockHead end, chain_.block(BlockTag::number(to)));
    rpc::LogFilter filter;
    filter.from_block = from.next_block;
    filter.to_block = to;
    filter.addresses = {deployment_.leases, deployment_.escrow, deployment_.receipt_log};
    TRY_ASSIGN(const std::vector<rpc::LogEntry> entries, chain_.logs(filter));
    // The same block again: the logs are of one history.
    TRY_ASSIGN(const rpc::BlockHead again, chain_.block(BlockTag::number(to)));
    if (again.hash != end.hash)
        return fail(ErrorCode::chain_unreachable, "the chain moved while it was read");
    for (const rpc::LogEntry& entry : entries) {
        if (entry.block_number == to && entry.block_hash != end.hash)
            return fail(ErrorCode::chain_bad_answer, "an event of a block that is not there");
        TRY_ASSIGN(std::optional<ChainEvent> event, decode_entry(deployment_, entry));
        if (event) batch.events.push_back(std::move(*event));
    }
    batch.cursor = {to + 1, end.hash};
    return batch;
}

}  // namespace ledger::settlement

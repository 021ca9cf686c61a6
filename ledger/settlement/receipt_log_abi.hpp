// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/rpc/chain.hpp"

#include <optional>
#include <vector>

/// C++ form of contracts/src/interfaces/IReceiptLog.sol.
namespace ledger::settlement {

/// `last`: the head anchored before, all zero when there is none; `proof`: consistency from it to
/// `head` (ledger/log). The operator's own transaction needs no signature.
[[nodiscard]] base::Bytes encode_anchor(const eth::TreeHead& last, const eth::TreeHead& head,
                                        const std::optional<base::Signature>& operator_signature,
                                        const std::vector<base::Hash32>& proof);

struct Anchored {
    eth::TreeHead head;
};
[[nodiscard]] base::Result<std::optional<Anchored>> decode_receipt_log_event(
    const rpc::LogEntry& entry);

/// The last anchored head; size 0 when there is none. The contract stores its hash only, so that it
/// is read from the events since `from_block` and compared with that hash.
[[nodiscard]] base::Result<eth::TreeHead> read_latest_head(rpc::Chain& chain,
                                                           const base::Address& receipt_log,
                                                           std::uint64_t from_block);

}  // namespace ledger::settlement

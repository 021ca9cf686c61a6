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

/// `proof`: consistency from the head anchored before to this one (ledger/log).
[[nodiscard]] base::Bytes encode_anchor(const eth::TreeHead& head,
                                        const base::Signature& operator_signature,
                                        const std::vector<base::Hash32>& proof);

struct Anchored {
    eth::TreeHead head;
};
[[nodiscard]] base::Result<std::optional<Anchored>> decode_receipt_log_event(
    const rpc::LogEntry& entry);

/// The last anchored head; size 0 when there is none.
[[nodiscard]] base::Result<eth::TreeHead> read_latest_head(rpc::Chain& chain,
                                                           const base::Address& receipt_log,
                                                           rpc::BlockTag at);

}  // namespace ledger::settlement

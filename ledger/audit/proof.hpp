// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/lease.hpp"
#include "ledger/audit/log_source.hpp"
#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/settlement/deployment.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::audit {

/// That a record is in the log under a head anchored on chain and, when it holds a receipt, that
/// the lease's worker signed it. The form of its file stands in the README.
struct Proof {
    std::uint64_t chain_id = 0;
    base::Address leases;
    base::Address receipt_log;
    std::uint64_t index = 0;  ///< of the record in the log
    base::Bytes record;
    std::uint64_t size = 0;  ///< of the anchored head
    base::Hash32 root;
    log::Proof path;
    Place anchor;  ///< without its time
    std::optional<SignedReceipt> receipt;
    settlement::Parties parties;  ///< of the receipt's lease
};

/// The receipt in a record, empty when it holds none; the record format belongs to the market.
using ReceiptDecoder = std::function<std::optional<SignedReceipt>(base::ByteView record)>;

/// A head on the chain and where it was anchored.
struct AnchoredHead {
    eth::TreeHead head;
    Place at;
};
/// All of them, oldest first.
[[nodiscard]] base::Result<std::vector<AnchoredHead>> read_heads(
    rpc::Chain& chain, const settlement::Deployment& deployment);
/// Who a lease is between. not_found when it was never opened.
[[nodiscard]] base::Result<settlement::Parties> read_parties(
    rpc::Chain& chain, const settlement::Deployment& deployment, const base::Hash32& lease);

/// One line of JSON in canonical form, with a digest over all the rest.
[[nodiscard]] std::string to_text(const Proof& proof);
/// audit_failed for a text that is not what `to_text` makes, to the bit.
[[nodiscard]] base::Result<Proof> parse_proof(std::string_view text);

/// Without asking anybody: record → path → root, the receipt is the record's, and its worker
/// signed it. audit_failed says what does not fit.
[[nodiscard]] base::Result<void> verify(const Proof& proof, const ReceiptDecoder& decode);
/// What the chain adds: that transaction anchored this head, `ReceiptLog` comes to the same
/// answer, and the lease is between these parties.
[[nodiscard]] base::Result<void> verify_on_chain(const Proof& proof, rpc::Chain& chain);

}  // namespace ledger::audit

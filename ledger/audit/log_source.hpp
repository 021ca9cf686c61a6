// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace ledger::audit {

// What a record of the public log can hold that the audit looks at, as signed.
struct PostedAsk {
    eth::Ask ask;
    base::Signature signature;
};
struct PostedBid {
    eth::Bid bid;
    base::Signature signature;
    std::optional<eth::Delegation> delegation;  ///< when the bid was signed by a delegate
    base::Signature delegation_signature;
};
struct SignedReceipt {
    eth::Receipt receipt;
    base::Signature signature;
};
/// A receipt that the market keeps as evidence only: its worker had signed another one before with
/// the same lease and sequence.
struct EquivocalReceipt {
    SignedReceipt other;
};
struct SignedVoucher {
    eth::Voucher voucher;
    base::Signature buyer_signature;
    base::Signature worker_signature;
};
using LogItem = std::variant<PostedAsk, PostedBid, SignedReceipt, EquivocalReceipt, SignedVoucher>;

/// One leaf of the public log. `bytes` are the leaf's data exactly as stored.
struct LogRecord {
    base::Bytes bytes;
    std::vector<LogItem> items;  ///< decoded from the bytes by the source
    /// Why the bytes are not a good record (undecodable, broken hash chain); empty when they are.
    std::string defect;
};

/// The public log in order, from a file or a market. The record format belongs to the market, so
/// the source decodes; the audit trusts it with nothing but that.
class LogSource {
 public:
    virtual ~LogSource() = default;
    /// Empty at the end. An error ends the audit: the log could not be read.
    [[nodiscard]] virtual base::Result<std::optional<LogRecord>> next() = 0;
};

}  // namespace ledger::audit

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/resource_cache.hpp"

#include <string>
#include <string_view>

/// Bodies that post orders. Signed messages carry their EIP-712 field names; 64-bit fields are
/// decimal strings, hashes and signatures 0x-hex. Documents travel as the very text that was
/// hashed. Unknown fields are refused.
namespace marketplace::wire {

/// POST /v1/market/orders: {"ask":{…},"signature":"0x…","resource":"<canonical document>"}.
/// Checks that the document is the one the ask signs; the signature is the caller's to check.
[[nodiscard]] ledger::base::Result<domain::PostAsk> parse_post_ask(std::string_view body);
/// The same for who reads many.
[[nodiscard]] ledger::base::Result<domain::PostAsk> parse_post_ask(std::string_view body,
                                                                   ResourceCache& resources);
[[nodiscard]] std::string post_ask_json(const domain::PostAsk& ask);

/// The signed messages alone, as `ask_json` and `bid_json` write them.
[[nodiscard]] ledger::base::Result<ledger::eth::Ask> parse_ask(std::string_view text);
[[nodiscard]] ledger::base::Result<ledger::eth::Bid> parse_bid(std::string_view text);
[[nodiscard]] ledger::base::Result<ledger::eth::Delegation> parse_delegation(std::string_view text);

/// POST /v1/jobs and /v1/market/quotes: {"id":"job_…","spec":"<canonical>","bids":[{"bid":{…},
/// "signature":"0x…","constraints":"<canonical>"}],"delegation":{…},"delegation_signature":"0x…"}.
struct PostJobBody {
    domain::PostJob command;
    std::string spec;  ///< canonical bytes, hashed by every bid
    JobSpec parsed;
};
[[nodiscard]] ledger::base::Result<PostJobBody> parse_post_job(std::string_view body);
[[nodiscard]] std::string post_job_json(const PostJobBody& job);

}  // namespace marketplace::wire

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/signatures.hpp"

#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::Address;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::Signature;
using ledger::crypto::to_checksum;

namespace {

/// The chain another domain of the same contract must have been signed for, if we can find it.
template <typename Message>
[[nodiscard]] std::uint64_t find_other_chain(const ledger::eth::Domain& domain,
                                             const Message& message, const Signature& signature,
                                             const Address& signer) {
    const std::uint64_t known[] = {1,
                                   10,
                                   137,
                                   8453,
                                   42161,
                                   11155111,
                                   31337,
                                   1337,
                                   56,
                                   43114,
                                   domain.chain_id + 1,
                                   domain.chain_id - 1};
    for (const std::uint64_t chain_id : known) {
        if (chain_id == domain.chain_id) continue;
        const ledger::eth::Domain other{chain_id, domain.contract};
        if (ledger::crypto::verify(ledger::eth::digest(other, message), signature, signer))
            return chain_id;
    }
    return 0;
}

template <typename Message>
[[nodiscard]] Result<void> check_signer(const ledger::eth::Domain& domain, const Message& message,
                                        const Signature& signature, const Address& signer,
                                        std::string_view what) {
    const auto recovered = ledger::crypto::recover(ledger::eth::digest(domain, message), signature);
    if (!recovered) return tl::make_unexpected(recovered.error());
    if (*recovered == signer) return {};
    if (const auto chain = find_other_chain(domain, message, signature, signer); chain != 0)
        return fail(ErrorCode::wrong_chain,
                    fmt::format("the {} is signed for chain {}, this market settles on {}", what,
                                chain, domain.chain_id));
    return fail(
        ErrorCode::invalid_signature,
        fmt::format("the {} must be signed by {}: either another key signed it, or it is "
                    "signed for another chain or contract than {} on chain {}",
                    what, to_checksum(signer), to_checksum(domain.contract), domain.chain_id));
}

}  // namespace

Result<void> check_ask(const ledger::eth::Domain& domain, const domain::PostAsk& ask) {
    return check_signer(domain, ask.ask, ask.signature, ask.ask.provider, "ask");
}

Result<void> check_job(const ledger::eth::Domain& domain, const domain::PostJob& job,
                       ledger::base::TimeMs now_ms) {
    if (job.legs.empty() || job.legs.size() > 2)
        return fail(ErrorCode::invalid_field, "/bids has one bid, or two for serving");
    const Address buyer = job.legs.front().bid.buyer;
    bool delegate_signs_orders = false;
    if (job.delegation) {
        const ledger::eth::Delegation& delegation = *job.delegation;
        if (delegation.owner != buyer)
            return fail(ErrorCode::invalid_field, "/delegation/owner is not the buyer");
        TRY(check_signer(domain, delegation, job.delegation_signature, buyer, "delegation"));
        if (delegation.expiry_s * 1000 <= now_ms)
            return fail(ErrorCode::expired, "the delegation has expired");
        delegate_signs_orders = (delegation.scope & ledger::eth::kScopeOrders) != 0;
    }
    for (const domain::BidLeg& leg : job.legs) {
        if (leg.bid.buyer != buyer)
            return fail(ErrorCode::invalid_field, "/bids name different buyers");
        const auto by_buyer = check_signer(domain, leg.bid, leg.signature, buyer, "bid");
        if (by_buyer) continue;
        if (!delegate_signs_orders) return by_buyer;
        TRY(check_signer(domain, leg.bid, leg.signature, job.delegation->delegate, "bid"));
    }
    return {};
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/signatures.hpp"

#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::Address;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::base::Signature;
using ledger::crypto::to_checksum;
using ledger::eth::struct_hash;

namespace {

/// The chain another domain of the same contract must have been signed for, if we can find it.
[[nodiscard]] std::uint64_t find_other_chain(const OrderDomain& domain, const Hash32& struct_hash,
                                             const Signature& signature, const Address& signer) {
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
                                   domain.chain_id() + 1,
                                   domain.chain_id() - 1};
    for (const std::uint64_t chain_id : known) {
        if (chain_id == domain.chain_id()) continue;
        const OrderDomain other({chain_id, domain.contract()});
        if (ledger::crypto::verify(other.digest_of(struct_hash), signature, signer))
            return chain_id;
    }
    return 0;
}

[[nodiscard]] Result<void> check_signer(const OrderDomain& domain, const Hash32& struct_hash,
                                        const Signature& signature, const Address& signer,
                                        std::string_view what) {
    const auto recovered = ledger::crypto::recover(domain.digest_of(struct_hash), signature);
    if (!recovered) return tl::make_unexpected(recovered.error());
    if (*recovered == signer) return {};
    if (const auto chain = find_other_chain(domain, struct_hash, signature, signer); chain != 0)
        return fail(ErrorCode::wrong_chain,
                    fmt::format("the {} is signed for chain {}, this market settles on {}", what,
                                chain, domain.chain_id()));
    return fail(
        ErrorCode::invalid_signature,
        fmt::format("the {} must be signed by {}: either another key signed it, or it is "
                    "signed for another chain or contract than {} on chain {}",
                    what, to_checksum(signer), to_checksum(domain.contract()), domain.chain_id()));
}

/// The same, by the contract of an account whose key did not sign.
[[nodiscard]] Result<void> check_owner(const OrderDomain& domain, const Hash32& struct_hash,
                                       const Signature& signature, const Address& owner,
                                       std::string_view what, ChainPort* chain) {
    auto by_key = check_signer(domain, struct_hash, signature, owner, what);
    if (by_key || chain == nullptr || by_key.error().code() != ErrorCode::invalid_signature)
        return by_key;
    TRY_ASSIGN(const bool accepted,
               chain->accepts_signature(owner, domain.digest_of(struct_hash), signature.span()));
    if (accepted) return {};
    return by_key;
}

}  // namespace

Result<Hash32> check_ask(const OrderDomain& domain, const domain::PostAsk& ask) {
    const Hash32 id = struct_hash(ask.ask);
    TRY(check_signer(domain, id, ask.signature, ask.ask.provider, "ask"));
    return id;
}

Result<void> check_job(const OrderDomain& domain, const domain::PostJob& job,
                       ledger::base::TimeMs now_ms, ChainPort* chain) {
    if (job.legs.empty() || job.legs.size() > 2)
        return fail(ErrorCode::invalid_field, "/bids has one bid, or two for serving");
    const Address buyer = job.legs.front().bid.buyer;
    bool delegate_signs_orders = false;
    if (job.delegation) {
        const ledger::eth::Delegation& delegation = *job.delegation;
        if (delegation.owner != buyer)
            return fail(ErrorCode::invalid_field, "/delegation/owner is not the buyer");
        TRY(check_owner(domain, struct_hash(delegation), job.delegation_signature, buyer,
                        "delegation", chain));
        if (delegation.expiry_s * 1000 <= now_ms)
            return fail(ErrorCode::expired, "the delegation has expired");
        delegate_signs_orders = (delegation.scope & ledger::eth::kScopeOrders) != 0;
    }
    for (const domain::BidLeg& leg : job.legs) {
        if (leg.bid.buyer != buyer)
            return fail(ErrorCode::invalid_field, "/bids name different buyers");
        const Hash32 hash = struct_hash(leg.bid);
        const Hash32 digest = domain.digest_of(hash);
        if (ledger::crypto::verify(digest, leg.signature, buyer)) continue;
        if (delegate_signs_orders &&
            ledger::crypto::verify(digest, leg.signature, job.delegation->delegate))
            continue;
        TRY(check_owner(domain, hash, leg.signature, buyer, "bid", chain));
    }
    return {};
}

Result<void> check_account_signature(const Address& account, const Hash32& digest,
                                     ledger::base::ByteView signature, ChainPort& chain) {
    if (signature.size() == Signature::kSize) {
        const Signature plain(signature.first<Signature::kSize>());
        if (ledger::crypto::verify(digest, plain, account)) return {};
    }
    TRY_ASSIGN(const bool accepted, chain.accepts_signature(account, digest, signature));
    if (accepted) return {};
    return fail(ErrorCode::invalid_signature,
                to_checksum(account) + " did not sign this: neither its key nor its contract");
}

Result<void> check_delegation(const OrderDomain& domain, const ledger::eth::Delegation& delegation,
                              ledger::base::ByteView signature, ChainPort& chain) {
    return check_account_signature(delegation.owner, domain.digest_of(struct_hash(delegation)),
                                   signature, chain);
}

}  // namespace marketplace::api

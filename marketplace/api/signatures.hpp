// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/api/ports.hpp"
#include "marketplace/domain/command.hpp"

/// Order signatures, checked over the message that was received.
namespace marketplace::api {

/// The domain that orders are signed for, with its separator: one hash less per signature.
class OrderDomain {
 public:
    explicit OrderDomain(const ledger::eth::Domain& domain)
        : domain_(domain), separator_(ledger::eth::domain_separator(domain)) {}

    [[nodiscard]] std::uint64_t chain_id() const noexcept { return domain_.chain_id; }
    [[nodiscard]] const domain::Address& contract() const noexcept { return domain_.contract; }
    [[nodiscard]] domain::Hash32 digest_of(const domain::Hash32& struct_hash) const {
        return ledger::eth::typed_digest(separator_, struct_hash);
    }

 private:
    ledger::eth::Domain domain_;
    domain::Hash32 separator_;
};

/// The ask's id (its struct hash), when its provider's own key signed it. invalid_signature;
/// wrong_chain when it is good for another chain we can name.
[[nodiscard]] ledger::base::Result<domain::Hash32> check_ask(const OrderDomain& domain,
                                                             const domain::PostAsk& ask);
/// Each leg by the buyer, or by the delegate of a delegation that allows orders. With `chain` the
/// buyer's contract is asked where its key did not sign (ERC-1271), and the call may block: then
/// also what ChainPort tells. Without it only keys count, and invalid_signature may be a
/// contract's.
[[nodiscard]] ledger::base::Result<void> check_job(const OrderDomain& domain,
                                                   const domain::PostJob& job,
                                                   ledger::base::TimeMs now_ms,
                                                   ChainPort* chain = nullptr);

/// That the delegation's owner signed it, as `check_account_signature`.
[[nodiscard]] ledger::base::Result<void> check_delegation(const OrderDomain& domain,
                                                          const ledger::eth::Delegation& delegation,
                                                          ledger::base::ByteView signature,
                                                          ChainPort& chain);

/// Whether `account` signed: its own key (65 bytes, low s), or its contract says so (ERC-1271). May
/// block. invalid_signature; what ChainPort tells.
[[nodiscard]] ledger::base::Result<void> check_account_signature(const domain::Address& account,
                                                                 const domain::Hash32& digest,
                                                                 ledger::base::ByteView signature,
                                                                 ChainPort& chain);

}  // namespace marketplace::api

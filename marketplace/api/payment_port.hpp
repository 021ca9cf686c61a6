// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/eth/transfer_authorization.hpp"
#include "marketplace/domain/resource.hpp"

#include <cstdint>
#include <functional>
#include <string>

namespace marketplace::api {

/// What callers without an account pay with, and to whom.
struct PaymentTerms {
    std::uint64_t chain_id = 0;
    domain::Address token;
    std::string token_name;  ///< of its EIP-712 domain, as is the version
    std::string token_version;
    ledger::eth::U256 units_per_atom;  ///< of the token
    domain::Address pay_to;            ///< the buyer account whose leases serve such calls
    std::uint64_t least_atoms = 0;     ///< of one call: settling it costs gas
};

/// A payment by EIP-3009 as it was signed.
struct TokenPayment {
    ledger::eth::TransferAuthorization authorization;
    domain::Signature signature;
};

/// Payments into the chain. Calls are bounded in number (queue_full) and answered once, from a
/// thread that must not be blocked.
class PaymentPort {
 public:
    virtual ~PaymentPort() = default;
    [[nodiscard]] virtual const PaymentTerms& terms() const = 0;
    /// Would the token take it now? chain_refused: it would not (no money, nonce used, …); other
    /// errors: it could not be asked.
    virtual void check(TokenPayment payment,
                       std::function<void(ledger::base::Result<void>)> done) = 0;
    /// Has the token take it: the transaction, once it is in a block and succeeded. chain_refused:
    /// it did not, and never will; other errors: nothing was paid that is not known of.
    virtual void settle(TokenPayment payment,
                        std::function<void(ledger::base::Result<domain::Hash32>)> done) = 0;
};

}  // namespace marketplace::api

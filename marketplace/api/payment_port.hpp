// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/eth/transfer_authorization.hpp"
#include "ledger/eth/upto_permit.hpp"
#include "marketplace/domain/resource.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>

namespace marketplace::api {

/// Where payments up to an amount go through.
struct UptoTerms {
    domain::Address permit2;
    domain::Address proxy;
    domain::Address facilitator;  ///< who has them taken: the market's own account
};

/// What callers without an account pay with, and to whom.
struct PaymentTerms {
    std::uint64_t chain_id = 0;
    domain::Address token;
    std::string token_name;  ///< of its EIP-712 domain, as is the version
    std::string token_version;
    ledger::eth::U256 units_per_atom;  ///< of the token
    domain::Address pay_to;            ///< the buyer account whose leases serve such calls
    std::uint64_t least_atoms = 0;     ///< of one call: settling it costs gas
    std::optional<UptoTerms> upto;     ///< none: such payments are not taken
};

/// A payment by EIP-3009 as it was signed (x402's "exact").
struct TokenPayment {
    ledger::eth::TransferAuthorization authorization;
    domain::Signature signature;
};

/// A payment up to an amount by Permit2 as it was signed (x402's "upto").
struct UptoPayment {
    ledger::eth::UptoPermit permit;
    domain::Signature signature;
};

using Payment = std::variant<TokenPayment, UptoPayment>;
[[nodiscard]] domain::Address payer_of(const Payment& payment);
/// Of what may be used once, payer and nonce, whatever the signature looks like.
[[nodiscard]] domain::Hash32 name_of(const TokenPayment& payment);
[[nodiscard]] domain::Hash32 name_of(const UptoPayment& payment);
[[nodiscard]] domain::Hash32 upto_name(const domain::Address& payer,
                                       const ledger::eth::U256& nonce);

/// Whether the caller has the answer that is paid for.
enum class Answer : std::uint8_t { kHeldBack = 0, kGiven = 1 };

/// What became of a payment up to an amount.
struct UptoStanding {
    std::string state;        ///< "serving", "taking", "owed", "paid", "free" or "lost"
    std::uint64_t atoms = 0;  ///< that are taken
    std::optional<domain::Hash32> transaction;  ///< in a block
};

/// Payments into the chain. Calls are bounded in number (queue_full) and answered once, from a
/// thread that must not be blocked.
class PaymentPort {
 public:
    virtual ~PaymentPort() = default;
    [[nodiscard]] virtual PaymentTerms terms() const = 0;
    /// Would the chain take all of it now? insufficient_funds, nonce_used, chain_refused: it would
    /// not; wrong_state: the payer does not let Permit2 move the token; rate_limited: the payer has
    /// too many served calls that are not paid; other errors: it could not be asked. From a good
    /// answer on, a payment up to an amount is used, also after a restart: `charge` must follow.
    virtual void check(Payment payment, std::function<void(ledger::base::Result<void>)> done) = 0;
    /// Has the token take it: the transaction, once it is in a block and succeeded. chain_refused:
    /// it did not, and never will; other errors: nothing was paid that is not known of.
    virtual void settle(TokenPayment payment,
                        std::function<void(ledger::base::Result<domain::Hash32>)> done) = 0;
    /// Has the proxy take `atoms` of it, at most what was signed for; the same answers as `settle`.
    /// 0: nothing is taken, and the answer is zero. Never queue_full. What is owed for an answer
    /// that was given is kept and tried as long as the payment is valid; one that is held back is
    /// not owed when it fails.
    virtual void charge(UptoPayment payment, std::uint64_t atoms, Answer answer,
                        std::function<void(ledger::base::Result<domain::Hash32>)> done) = 0;
    /// not_found when it never paid for a call, or that was long ago. On any thread; reads the
    /// disk.
    [[nodiscard]] virtual ledger::base::Result<UptoStanding> standing(
        const domain::Hash32& upto_name) const = 0;
};

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/eth/transaction.hpp"
#include "ledger/signer/protocol.hpp"

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace ledger::signer {

/// Talks to `millrace-signer` over its socket: one connection per question, every step with a
/// deadline. Checks what comes back (signer address, hash), so that a wrong or altered signature
/// never leaves. One object may be used by several threads.
///
/// Errors: unavailable (signer down), timeout, policy_refused (with the rule's name),
/// already_signed_differently, voucher_not_higher, not_found (no such key), invalid_signature (the
/// answer does not fit the question).
class SignerClient {
 public:
    explicit SignerClient(std::filesystem::path socket,
                          std::chrono::milliseconds timeout = std::chrono::seconds(5));

    /// Accounts the signer holds keys of.
    [[nodiscard]] base::Result<std::vector<base::Address>> addresses() const;

    /// Signed raw bytes of a transaction to an allowed contract and function.
    [[nodiscard]] base::Result<base::Bytes> sign_transaction(
        const base::Address& from, const eth::Transaction& transaction) const;

    /// A voucher as the buyer's delegate. The same voucher twice gives the same signature.
    [[nodiscard]] base::Result<base::Signature> sign_voucher(const base::Address& delegate,
                                                             const eth::Domain& domain,
                                                             const eth::Voucher& voucher,
                                                             const LeaseOrigin& origin) const;

    /// An objection to a claim by the worker alone, as the buyer's delegate.
    [[nodiscard]] base::Result<base::Signature> sign_objection(
        const base::Address& delegate, const eth::Domain& domain,
        const eth::Objection& objection) const;

    /// A checkpoint of the public log; sizes never fall and one size has one root.
    [[nodiscard]] base::Result<base::Signature> sign_tree_head(const base::Address& signer,
                                                               const eth::Domain& domain,
                                                               const eth::TreeHead& head) const;

 private:
    [[nodiscard]] base::Result<std::string> ask(const std::string& request) const;

    std::filesystem::path socket_;
    std::chrono::milliseconds timeout_;
};

}  // namespace ledger::signer

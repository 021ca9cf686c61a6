// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/signer/policy.hpp"
#include "ledger/signer/protocol.hpp"
#include "ledger/signer/signature_log.hpp"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::signer {

/// Decides and signs; knows no socket. One thread.
///
/// Order of checks: key known, policy, history, then the record is made durable, then signed.
class SignerService {
 public:
    SignerService(std::vector<crypto::PrivateKey> keys, Policy policy, SignatureLog log,
                  const base::Clock& clock);

    [[nodiscard]] base::Result<Answer> handle(const Request& request);
    /// One line in, one line out, neither with its newline. Never throws.
    [[nodiscard]] std::string handle_line(std::string_view line);

 private:
    [[nodiscard]] base::Result<Answer> sign(const ListAddresses& request);
    [[nodiscard]] base::Result<Answer> sign(const SignTransaction& request);
    [[nodiscard]] base::Result<Answer> sign(const SignVoucher& request);
    [[nodiscard]] base::Result<Answer> sign(const SignTreeHead& request);
    [[nodiscard]] base::Result<Answer> sign(const SignObjection& request);
    [[nodiscard]] base::Result<const crypto::PrivateKey*> key_of(
        const base::Address& address) const;
    [[nodiscard]] base::Result<void> check_call(const SignTransaction& request) const;
    [[nodiscard]] base::Result<void> check_domain(const eth::Domain& domain,
                                                  const base::Address& contract) const;

    std::map<base::Address, crypto::PrivateKey> keys_;
    Policy policy_;
    SignatureLog log_;
    const base::Clock& clock_;
};

}  // namespace ledger::signer

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/transaction.hpp"

#include <functional>
#include <utility>

namespace ledger::settlement {

/// Signs transactions of one account. The submitter checks hash and sender of what comes back.
class TransactionSigner {
 public:
    virtual ~TransactionSigner() = default;
    [[nodiscard]] virtual base::Address address() const = 0;
    /// The signed bytes, ready to send.
    [[nodiscard]] virtual base::Result<base::Bytes> sign(const eth::Transaction& transaction) = 0;
};

/// Signs with a key in this process: command line, worker set-up, tests. Keeps a reference.
class LocalTransactionSigner final : public TransactionSigner {
 public:
    explicit LocalTransactionSigner(const crypto::PrivateKey& key) noexcept : key_(key) {}
    [[nodiscard]] base::Address address() const override { return key_.address(); }
    [[nodiscard]] base::Result<base::Bytes> sign(const eth::Transaction& transaction) override {
        return eth::encode_signed(transaction, key_.sign(eth::signing_digest(transaction)));
    }

 private:
    const crypto::PrivateKey& key_;
};

/// Hands the work to a function, e.g. to `ledger::signer::SignerClient::sign_transaction`.
class CallbackTransactionSigner final : public TransactionSigner {
 public:
    using Callback = std::function<base::Result<base::Bytes>(const eth::Transaction&)>;
    CallbackTransactionSigner(const base::Address& address, Callback callback)
        : address_(address), callback_(std::move(callback)) {}
    [[nodiscard]] base::Address address() const override { return address_; }
    [[nodiscard]] base::Result<base::Bytes> sign(const eth::Transaction& transaction) override {
        return callback_(transaction);
    }

 private:
    base::Address address_;
    Callback callback_;
};

}  // namespace ledger::settlement

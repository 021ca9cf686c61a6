// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "marketplace/api/payment_port.hpp"
#include "marketplace/http/request.hpp"
#include "marketplace/http/response.hpp"

#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>

/// x402, version 2. 402 says what a call costs at most. Scheme "exact" (EIP-3009): the caller signs
/// a transfer of exactly that, and the answer comes when the transfer is on chain. Scheme "upto"
/// (Permit2): it signs for as much, and what the call came to is taken.
namespace marketplace::api {

using ledger::base::Result;

inline constexpr std::uint64_t kPaymentTimeoutS = 300;  ///< a signed transfer is valid so long
inline constexpr std::uint64_t kUptoTimeoutS = 1800;    ///< it is taken after the answer
/// A call that is paid up to an amount ends so long before its payment does.
inline constexpr std::uint64_t kUptoSettlingS = 120;

/// Why a payment does not count: the protocol's own word, and the HTTP status.
struct PaymentRefusal {
    int status = 402;
    std::string reason;
    std::string help{};  ///< what the payer does next, where that is not plain
};

/// The document of the header PAYMENT-REQUIRED, which is also the body of a 402.
[[nodiscard]] std::string payment_required_json(const PaymentTerms& terms, const std::string& url,
                                                std::uint64_t atoms, std::string_view error);
/// A 402 with that document; `payer` and `reason` of a payment that did not count, if there is one.
[[nodiscard]] http::Response payment_required(const PaymentTerms& terms,
                                              const http::Request& request, std::uint64_t atoms,
                                              const std::optional<PaymentRefusal>& refusal = {});
/// The header PAYMENT-RESPONSE of a payment that is on chain.
[[nodiscard]] std::string payment_response_json(const PaymentTerms& terms, const Payment& payment,
                                                std::uint64_t atoms,
                                                const domain::Hash32& transaction);
/// Decimal as clients send it, or 0x and 64 digits as the specification shows it.
[[nodiscard]] Result<ledger::eth::U256> parse_upto_nonce(const std::string& text);
/// What is taken for a call that cost that much: nothing for nothing, else at least the terms'
/// least, because taking it costs gas, and at most what was signed for.
[[nodiscard]] std::uint64_t upto_charge(const PaymentTerms& terms, std::uint64_t cost_atoms,
                                        std::uint64_t ceiling_atoms);

/// Reads the header PAYMENT-SIGNATURE and checks it against what was asked for: terms, amount, time
/// and signature; in this order, the first failure counts.
[[nodiscard]] tl::expected<Payment, PaymentRefusal> parse_payment(std::string_view header,
                                                                  const PaymentTerms& terms,
                                                                  std::uint64_t atoms,
                                                                  std::uint64_t now_s);

/// Authorizations that pay for a call under way: none pays for two. Thread-safe.
class PaymentsUnderWay {
 private:
    struct Keys {
        std::mutex mutex;
        std::set<domain::Hash32> all;
    };

 public:
    /// Holds its place until it is destroyed; it may outlive the table.
    class Place {
     public:
        Place(std::shared_ptr<Keys> keys, domain::Hash32 key) : keys_(std::move(keys)), key_(key) {}
        ~Place() {
            const std::lock_guard lock(keys_->mutex);
            keys_->all.erase(key_);
        }
        Place(const Place&) = delete;
        Place& operator=(const Place&) = delete;

     private:
        std::shared_ptr<Keys> keys_;
        domain::Hash32 key_;
    };
    /// Null when this authorization pays already, or when too many are under way.
    [[nodiscard]] std::shared_ptr<Place> enter(const Payment& payment);

 private:
    std::shared_ptr<Keys> keys_ = std::make_shared<Keys>();
};

}  // namespace marketplace::api

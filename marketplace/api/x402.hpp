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

/// x402, version 2, scheme "exact" by EIP-3009: 402 says what a call costs, the caller signs a
/// transfer of exactly that, and the answer comes when the transfer is on chain.
namespace marketplace::api {

using ledger::base::Result;

inline constexpr std::uint64_t kPaymentTimeoutS = 300;  ///< a signed transfer is valid so long

/// Why a payment does not count: the protocol's own word, and the HTTP status.
struct PaymentRefusal {
    int status = 402;
    std::string reason;
};

/// The document of the header PAYMENT-REQUIRED, which is also the body of a 402.
[[nodiscard]] std::string payment_required_json(const PaymentTerms& terms, const std::string& url,
                                                std::uint64_t atoms, std::string_view error);
/// A 402 with that document; `payer` and `reason` of a payment that did not count, if there is one.
[[nodiscard]] http::Response payment_required(const PaymentTerms& terms,
                                              const http::Request& request, std::uint64_t atoms,
                                              const std::optional<PaymentRefusal>& refusal = {});
/// The header PAYMENT-RESPONSE of a payment that is on chain.
[[nodiscard]] std::string payment_response_json(const PaymentTerms& terms,
                                                const TokenPayment& payment,
                                                const domain::Hash32& transaction);

/// Reads the header PAYMENT-SIGNATURE and checks it against what was asked for: terms, amount, time
/// and signature; in this order, the first failure counts.
[[nodiscard]] tl::expected<TokenPayment, PaymentRefusal> parse_payment(std::string_view header,
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
    [[nodiscard]] std::shared_ptr<Place> enter(const TokenPayment& payment);

 private:
    std::shared_ptr<Keys> keys_ = std::make_shared<Keys>();
};

}  // namespace marketplace::api

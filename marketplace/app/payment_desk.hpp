// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/payment_port.hpp"

#include <deque>
#include <functional>
#include <mutex>
#include <vector>

namespace marketplace::app {

/// Payments on their way to the settlement thread: a bounded queue. Thread-safe.
class PaymentDesk final : public api::PaymentPort {
 public:
    static constexpr std::size_t kQueueMax = 64;
    enum class Want : std::uint8_t { kCheck = 0, kSettle = 1 };
    /// Answered once; a check gets no transaction.
    using Done = std::function<void(ledger::base::Result<domain::Hash32>)>;
    struct Task {
        Want want = Want::kCheck;
        api::TokenPayment payment;
        Done done;
    };

    explicit PaymentDesk(api::PaymentTerms terms) : terms_(std::move(terms)) {}

    /// Called after each new task; before the first one.
    void on_task(std::function<void()> wake) { wake_ = std::move(wake); }
    [[nodiscard]] const api::PaymentTerms& terms() const override { return terms_; }
    void check(api::TokenPayment payment,
               std::function<void(ledger::base::Result<void>)> done) override;
    void settle(api::TokenPayment payment, Done done) override;

    /// All tasks so far; the caller answers them.
    [[nodiscard]] std::deque<Task> take();

 private:
    void push(Task task);

    const api::PaymentTerms terms_;
    std::function<void()> wake_;
    std::mutex mutex_;
    std::deque<Task> tasks_;
};

}  // namespace marketplace::app

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/payment_port.hpp"
#include "marketplace/app/read_store.hpp"

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
        api::Payment payment;
        Done done;
    };
    /// What a call came to whose payment was found good before.
    struct Charge {
        api::UptoPayment payment;
        std::uint64_t atoms = 0;
        api::Answer answer = api::Answer::kHeldBack;
        Done done;
    };

    PaymentDesk(api::PaymentTerms terms, ReadStore& reads)
        : reads_(reads), terms_(std::move(terms)) {}

    /// Called after each new task; before the first one.
    void on_task(std::function<void()> wake) { wake_ = std::move(wake); }
    [[nodiscard]] api::PaymentTerms terms() const override;
    /// Payments up to an amount cannot be taken after all: offers them no more.
    void withdraw_upto();
    void check(api::Payment payment, std::function<void(ledger::base::Result<void>)> done) override;
    void settle(api::TokenPayment payment, Done done) override;
    void charge(api::UptoPayment payment, std::uint64_t atoms, api::Answer answer,
                Done done) override;
    [[nodiscard]] ledger::base::Result<api::UptoStanding> standing(
        const domain::Hash32& upto_name) const override;

    /// All tasks so far; the caller answers them.
    [[nodiscard]] std::deque<Task> take();
    /// All charges so far, each of a payment that was checked; they are as many as those.
    [[nodiscard]] std::deque<Charge> take_charges();

 private:
    void push(Task task);

    ReadStore& reads_;
    std::function<void()> wake_;
    mutable std::mutex mutex_;
    api::PaymentTerms terms_;
    std::deque<Task> tasks_;
    std::deque<Charge> charges_;
};

}  // namespace marketplace::app

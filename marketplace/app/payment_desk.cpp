// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/payment_desk.hpp"

#include <utility>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

void PaymentDesk::check(api::TokenPayment payment, std::function<void(Result<void>)> done) {
    push({Want::kCheck, std::move(payment),
          [done = std::move(done)](const Result<domain::Hash32>& result) {
              if (result) return done({});
              done(tl::make_unexpected(result.error()));
          }});
}

void PaymentDesk::settle(api::TokenPayment payment, Done done) {
    push({Want::kSettle, std::move(payment), std::move(done)});
}

void PaymentDesk::push(Task task) {
    {
        const std::lock_guard lock(mutex_);
        if (tasks_.size() < kQueueMax) {
            tasks_.push_back(std::move(task));
            task.done = nullptr;
        }
    }
    if (task.done) return task.done(fail(ErrorCode::queue_full, "too many payments wait"));
    if (wake_) wake_();
}

std::deque<PaymentDesk::Task> PaymentDesk::take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(tasks_, {});
}

}  // namespace marketplace::app

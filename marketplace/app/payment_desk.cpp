// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/payment_desk.hpp"

#include "marketplace/storage/upto_store.hpp"

#include <utility>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

std::string to_text(storage::UptoState state) {
    switch (state) {
        case storage::UptoState::kServing:
            return "serving";
        case storage::UptoState::kTaking:
            return "taking";
        case storage::UptoState::kOwed:
            return "owed";
        case storage::UptoState::kPaid:
            return "paid";
        case storage::UptoState::kFree:
            return "free";
        case storage::UptoState::kLost:
            return "lost";
    }
    return "unknown";
}

}  // namespace

api::PaymentTerms PaymentDesk::terms() const {
    const std::lock_guard lock(mutex_);
    return terms_;
}

void PaymentDesk::withdraw_upto() {
    const std::lock_guard lock(mutex_);
    terms_.upto.reset();
}

void PaymentDesk::check(api::Payment payment, std::function<void(Result<void>)> done) {
    push({Want::kCheck, std::move(payment),
          [done = std::move(done)](const Result<domain::Hash32>& result) {
              if (result) return done({});
              done(tl::make_unexpected(result.error()));
          }});
}

void PaymentDesk::settle(api::TokenPayment payment, Done done) {
    push({Want::kSettle, std::move(payment), std::move(done)});
}

void PaymentDesk::charge(api::UptoPayment payment, std::uint64_t atoms, api::Answer answer,
                         Done done) {
    {
        const std::lock_guard lock(mutex_);
        charges_.push_back({std::move(payment), atoms, answer, std::move(done)});
    }
    if (wake_) wake_();
}

Result<api::UptoStanding> PaymentDesk::standing(const domain::Hash32& upto_name) const {
    std::optional<storage::UptoRow> row;
    TRY(reads_.with([&](storage::Database& db) -> Result<void> {
        TRY_ASSIGN(row, storage::UptoStore(db).find(upto_name));
        return {};
    }));
    if (!row) return fail(ErrorCode::not_found, "no call was served for this payment");
    api::UptoStanding out;
    out.state = to_text(row->state);
    out.atoms = row->atoms;
    out.transaction = row->transaction;
    return out;
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

std::deque<PaymentDesk::Charge> PaymentDesk::take_charges() {
    const std::lock_guard lock(mutex_);
    return std::exchange(charges_, {});
}

}  // namespace marketplace::app

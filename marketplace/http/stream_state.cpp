// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/stream_state.hpp"

#include "ledger/base/limits.hpp"

namespace marketplace::http {

bool StreamState::push(std::string bytes) {
    const std::lock_guard lock(mutex_);
    if (gone() || closed_ || overflow_) return false;
    if (bytes.empty()) return true;
    if (queued() + bytes.size() > ledger::base::limits::kHttpStreamQueueBytes) {
        overflow_ = true;
        schedule();
        return false;
    }
    queued_.fetch_add(bytes.size(), std::memory_order_relaxed);
    if (pending_.empty())
        pending_ = std::move(bytes);
    else
        pending_ += bytes;
    schedule();
    return true;
}

void StreamState::close() {
    const std::lock_guard lock(mutex_);
    if (closed_ || gone()) return;
    closed_ = true;
    schedule();
}

void StreamState::schedule() {
    if (scheduled_) return;
    scheduled_ = true;
    thread_->post([self = shared_from_this()] {
        std::function<void()> wake;
        {
            const std::lock_guard lock(self->mutex_);
            self->scheduled_ = false;
            wake = self->wake_;
        }
        if (wake) wake();
    });
}

StreamState::Pulled StreamState::pull() {
    const std::lock_guard lock(mutex_);
    Pulled pulled;
    pulled.bytes = std::move(pending_);
    pending_.clear();
    pulled.ended = closed_;
    pulled.overflow = overflow_;
    return pulled;
}

void StreamState::abandon() {
    const std::lock_guard lock(mutex_);
    gone_.store(true, std::memory_order_release);
    wake_ = nullptr;
    pending_.clear();
}

}  // namespace marketplace::http

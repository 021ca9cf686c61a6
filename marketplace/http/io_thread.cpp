// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/io_thread.hpp"

#include "ledger/base/check.hpp"

#include <ctime>
#include <latch>

namespace marketplace::http {

namespace {
thread_local PostBatch* current_batch = nullptr;
}

PostBatch::PostBatch() : outer_(std::exchange(current_batch, this)) {}

PostBatch::~PostBatch() {
    current_batch = outer_;
    for (auto& [thread, work] : posts_)
        thread->post([work = std::move(work)] {
            for (const auto& one : work)
                one();
        });
}

PostBatch* PostBatch::current() noexcept {
    return current_batch;
}

void PostBatch::add(std::shared_ptr<IoThread> thread, std::function<void()> work) {
    for (auto& [known, items] : posts_) {
        if (known != thread) continue;
        items.push_back(std::move(work));
        return;
    }
    posts_.emplace_back(std::move(thread), Work()).second.push_back(std::move(work));
}

IoThread::IoThread() {
    renew_date();
}

void IoThread::start() {
    work_.emplace(context_.get_executor());
    arm();
    std::latch started(1);  // thread_id_ is read by other threads from here on
    thread_ = std::thread([this, &started] {
        thread_id_ = std::this_thread::get_id();
        started.count_down();
        context_.run();
    });
    started.wait();
}

void IoThread::finish() {
    post([this] {
        finishing_ = true;
        work_.reset();
        timer_.cancel();
    });
}

void IoThread::join() {
    if (thread_.joinable()) thread_.join();
    const std::lock_guard lock(mutex_);
    ended_ = true;
}

void IoThread::add(std::shared_ptr<Registered> item) {
    if (shut_) {  // accepted just before the stop
        boost::asio::post(context_, [item] { item->shut(); });
    }
    item->registry_index_ = items_.size();
    items_.push_back(std::move(item));
}

void IoThread::remove(Registered& item) {
    const std::size_t index = item.registry_index_;
    if (index == SIZE_MAX) return;
    MR_CHECK(index < items_.size());
    item.registry_index_ = SIZE_MAX;
    const std::shared_ptr<Registered> keep = std::move(items_[index]);
    if (index + 1 != items_.size()) {
        items_[index] = std::move(items_.back());
        items_[index]->registry_index_ = index;
    }
    items_.pop_back();
}

void IoThread::drain_all() {
    const auto all = items_;
    for (const auto& item : all)
        item->drain();
}

void IoThread::shut_all() {
    shut_ = true;
    const auto all = items_;
    for (const auto& item : all)
        item->shut();
}

void IoThread::arm() {
    timer_.expires_after(kTickInterval);
    timer_.async_wait([this](const boost::system::error_code& ec) {
        if (ec || finishing_) return;
        on_tick();
        arm();
    });
}

void IoThread::on_tick() {
    renew_date();
    const SteadyTime now = std::chrono::steady_clock::now();
    // Backwards: an item that leaves is replaced by one that was visited already.
    for (std::size_t i = items_.size(); i > 0; --i) {
        if (i > items_.size()) continue;
        const std::shared_ptr<Registered> keep = items_[i - 1];
        keep->on_tick(now);
    }
}

void IoThread::renew_date() {
    const std::time_t now = std::time(nullptr);
    if (now == date_second_) return;
    date_second_ = now;
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    const std::size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    date_.assign(text, size);
}

}  // namespace marketplace::http

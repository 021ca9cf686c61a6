// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/admission.hpp"

namespace marketplace::http {

std::unique_ptr<Admission::Ticket> Admission::admit(std::string client) {
    {
        const std::lock_guard lock(mutex_);
        if (total_ >= total_max_) return nullptr;
        std::size_t& count = clients_[client];
        if (count >= per_client_max_) return nullptr;
        ++count;
        ++total_;
    }
    return std::make_unique<Ticket>(shared_from_this(), std::move(client));
}

std::size_t Admission::open() const {
    const std::lock_guard lock(mutex_);
    return total_;
}

bool Admission::wait_empty(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock lock(mutex_);
    return empty_.wait_until(lock, deadline, [this] { return total_ == 0; });
}

void Admission::release(const std::string& client) {
    const std::lock_guard lock(mutex_);
    const auto found = clients_.find(client);
    if (found != clients_.end() && --found->second == 0) clients_.erase(found);
    if (--total_ == 0) empty_.notify_all();
}

}  // namespace marketplace::http

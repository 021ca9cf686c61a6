// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace marketplace::http {

/// Counts open connections, in total and per client (an IPv6 client is its /64). Thread-safe.
class Admission : public std::enable_shared_from_this<Admission> {
 public:
    Admission(std::size_t total_max, std::size_t per_client_max)
        : total_max_(total_max), per_client_max_(per_client_max) {}

    /// Held by a connection while it lives.
    class Ticket {
     public:
        Ticket(std::shared_ptr<Admission> owner, std::string client)
            : owner_(std::move(owner)), client_(std::move(client)) {}
        ~Ticket() { owner_->release(client_); }
        Ticket(const Ticket&) = delete;
        Ticket& operator=(const Ticket&) = delete;

     private:
        std::shared_ptr<Admission> owner_;
        std::string client_;
    };

    /// Null: refuse the connection.
    [[nodiscard]] std::unique_ptr<Ticket> admit(std::string client);
    [[nodiscard]] std::size_t open() const;
    /// True when the last connection ended before the deadline.
    [[nodiscard]] bool wait_empty(std::chrono::steady_clock::time_point deadline);

 private:
    void release(const std::string& client);

    const std::size_t total_max_;
    const std::size_t per_client_max_;
    mutable std::mutex mutex_;
    std::condition_variable empty_;
    std::size_t total_ = 0;
    std::unordered_map<std::string, std::size_t> clients_;
};

}  // namespace marketplace::http

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/ports.hpp"
#include "worker/agent/serve_session.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace worker::agent {

/// Who this worker is.
struct Identity {
    Address worker;
    Address provider;
    marketplace::domain::Resource resource;
};

/// What `millrace-worker status` shows of one session.
struct SessionStatus {
    Hash32 lease;
    std::string job;
    std::string kind;
    bool active = false;
};

/// Turns messages of the market into sessions and keeps them told. All calls from one thread, none
/// blocks for long. No clock, socket or process of its own.
class Agent {
 public:
    Agent(SessionContext context, Identity identity, LeaseStore& store);
    ~Agent();

    /// The connection is up: says hello.
    void on_open();
    /// One message of the market.
    void on_message(std::string_view text);
    /// About once a second.
    void tick();
    /// Ends all children; leases stay open on disk and go on after a restart.
    void stop();

    /// No new leases from now on; running ones go to their end.
    void drain(bool draining) noexcept { draining_ = draining; }
    [[nodiscard]] bool draining() const noexcept { return draining_; }
    /// Set when the market is not the one this worker was set up for; it must not go on.
    [[nodiscard]] const std::optional<ledger::base::Error>& fatal() const noexcept {
        return fatal_;
    }
    /// Welcomed by the market since the connection came up.
    [[nodiscard]] bool welcomed() const noexcept { return welcomed_; }
    [[nodiscard]] std::size_t active_sessions() const;
    [[nodiscard]] std::vector<SessionStatus> sessions() const;

 private:
    void handle(const marketplace::wire::Welcome& message);
    void handle(const marketplace::wire::Assign& message);
    void handle(const marketplace::wire::Ack& message);
    void handle(const marketplace::wire::BuyerVoucher& message);
    void handle(const marketplace::wire::CancelWork& message);
    void handle(const marketplace::wire::Infer& message);
    void handle(const marketplace::wire::Embed& message);
    void handle(const marketplace::wire::HoldCompletion& message);
    void handle(const marketplace::wire::AbortCompletion& message);
    void handle(const marketplace::wire::MarketError& message);

    [[nodiscard]] Result<std::shared_ptr<LeaseBook>> accept(
        const marketplace::wire::Assign& message);
    void open_session(const std::shared_ptr<LeaseBook>& book);
    void refuse(const Hash32& lease, const ledger::base::Error& error);

    const SessionContext context_;
    const Identity identity_;
    LeaseStore& store_;
    std::map<Hash32, std::shared_ptr<Session>> sessions_;              // by lease
    std::map<std::string, std::shared_ptr<ServeSession>> serve_jobs_;  // by job
    std::optional<ledger::base::Error> fatal_;
    bool welcomed_ = false;
    bool draining_ = false;
};

}  // namespace worker::agent

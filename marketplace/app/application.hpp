// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/app/config.hpp"

#include <memory>

namespace marketplace::app {

/// The market process: builds every part in order, runs until it is told to stop, stops them in
/// the reverse order. The only place where services are constructed.
class Application {
 public:
    /// Opens the database, replays the journal, asks chain and signer whether they are the right
    /// ones, and listens. Nothing half started remains on failure. chain_unreachable,
    /// chain_mismatch, unavailable (signer), config_invalid, port_in_use, audit_failed.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<Application>> start(Config config);
    ~Application();
    Application(const Application&) = delete;
    Application& operator=(const Application&) = delete;

    /// Port listened on.
    [[nodiscard]] std::uint16_t port() const;
    /// Periodic work: absent workers, silent completions, expiries. Call five times a second.
    void tick();

 private:
    class Parts;
    explicit Application(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

/// `millrace-market`: reads arguments, runs the application until SIGINT or SIGTERM.
/// 0 stopped as asked, 2 wrong arguments or settings, 8 chain or signer cannot be asked, 1 else.
int run_program(int argc, char** argv);

}  // namespace marketplace::app

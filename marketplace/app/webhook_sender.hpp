// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/account_events.hpp"
#include "marketplace/api/webhook_port.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/webhooks/attempt.hpp"
#include "marketplace/webhooks/schedule.hpp"

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace marketplace::app {

/// A message as it goes out.
struct WebhookCall {
    std::string url;
    std::vector<std::pair<std::string, std::string>> headers;
    std::string body;
};
/// Sends it, within bounded time and less when stopped. Called from several threads.
using WebhookPost = std::function<webhooks::Outcome(const WebhookCall&, const std::stop_token&)>;

/// Webhooks: endpoints as their owners change them, deliveries made from the journal, and the
/// threads that send them.
///
/// One thread reads the journal behind the engine and writes what is to be delivered together with
/// how far it read, so that a crash loses nothing; ids come from record and endpoint, so that
/// reading a record twice makes nothing twice. Others send what is due and note how it went; a
/// crash between the two sends once more, under the same id.
class Webhooks final : public api::WebhookPort {
 public:
    struct Deps {
        EngineThread& engine;
        ReadStore& reads;
        const ledger::base::Clock& clock;
        /// Records of the journal from `first` on.
        std::function<std::vector<domain::Bytes>(std::uint64_t first, std::size_t limit)> journal;
        std::function<ledger::base::Result<void>(const std::string& url)> check_url;
        WebhookPost post;
        std::function<domain::Bytes(std::size_t count)> random_bytes;
        std::size_t senders = 8;
    };
    using Outcome = webhooks::Outcome;

    explicit Webhooks(Deps deps);
    ~Webhooks() override;

    /// The journal has `size` records on disk. Any thread.
    void note(std::uint64_t size);
    /// Reads endpoints and place from the database, then starts the threads; the engine runs.
    [[nodiscard]] ledger::base::Result<void> start();
    /// Ends the calls under way, then the threads; before the engine stops.
    void stop();

    [[nodiscard]] ledger::base::Result<Endpoint> create(
        const domain::Address& owner, const std::string& url,
        const std::vector<std::string>& events) override;
    [[nodiscard]] ledger::base::Result<Endpoint> find(const domain::Address& owner,
                                                      const std::string& id) override;
    [[nodiscard]] ledger::base::Result<std::vector<Endpoint>> list(
        const domain::Address& owner) override;
    [[nodiscard]] ledger::base::Result<Endpoint> change(const domain::Address& owner,
                                                        const std::string& id,
                                                        const Change& change) override;
    [[nodiscard]] ledger::base::Result<void> remove(const domain::Address& owner,
                                                    const std::string& id) override;
    [[nodiscard]] ledger::base::Result<Endpoint> rotate(const domain::Address& owner,
                                                        const std::string& id) override;
    [[nodiscard]] ledger::base::Result<Delivery> test(const domain::Address& owner,
                                                      const std::string& id) override;
    [[nodiscard]] ledger::base::Result<std::vector<Delivery>> deliveries(
        const domain::Address& owner, const std::string& id, const std::string& after,
        std::size_t limit) override;
    [[nodiscard]] ledger::base::Result<Delivery> redeliver(const domain::Address& owner,
                                                           const std::string& id,
                                                           const std::string& delivery) override;

 private:
    /// What making deliveries needs to know of an endpoint.
    struct Listener {
        std::string id;
        std::vector<std::string> events;
        std::uint64_t from_sequence = 0;
    };
    /// Deliveries of one batch of records.
    struct Batch {
        std::vector<Delivery> deliveries;
        std::uint64_t next = 0;  ///< the first record that is not read
    };

    /// Reads the endpoint, lets `edit` change it and writes it, in one transaction on the engine's
    /// thread; then it is heard, or no more.
    [[nodiscard]] ledger::base::Result<Endpoint> edit(
        const domain::Address& owner, const std::string& id,
        std::function<ledger::base::Result<void>(Endpoint&)> edit);
    /// Writes a delivery of an enabled endpoint and has it sent.
    [[nodiscard]] ledger::base::Result<Delivery> enqueue(
        const domain::Address& owner, const std::string& id,
        std::function<ledger::base::Result<Delivery>(storage::Database&, const Endpoint&)> make);
    void listen_to(const Endpoint& endpoint);  ///< or forget it when it is disabled
    void forget(const std::string& id);
    void forget_locked(const std::string& id);

    // The reading thread.
    void read_on(const std::stop_token& stop);
    [[nodiscard]] ledger::base::Result<void> read_batch(std::uint64_t first, std::uint64_t end);
    [[nodiscard]] ledger::base::Result<Batch> make_batch(std::uint64_t first, std::uint64_t end);
    void add_deliveries(const api::AccountEvent& event, Batch& batch) const;  // with mutex_ held
    [[nodiscard]] ledger::base::Result<void> write_batch(const Batch& batch);

    // The sending threads.
    void send_on(const std::stop_token& stop);
    void send_next(const std::string& endpoint, const std::stop_token& stop);
    [[nodiscard]] ledger::base::Result<void> note_outcome(const Endpoint& endpoint,
                                                          const Delivery& delivery,
                                                          const Outcome& outcome);
    void finish(const std::string& endpoint, webhooks::Schedule::Speed speed,
                std::optional<domain::TimeMs> due_ms);

    Deps deps_;
    std::atomic<std::uint64_t> size_{0};

    std::mutex mutex_;  ///< over what follows
    std::condition_variable_any news_;
    std::condition_variable_any due_;
    std::unordered_map<domain::Address, std::vector<Listener>> listeners_;
    std::unordered_map<std::string, domain::Address> owners_;  ///< of the listeners
    std::uint64_t next_ = 0;       ///< the first record that was not read
    std::uint64_t kept_next_ = 0;  ///< as the database has it
    webhooks::Schedule schedule_;
    std::vector<std::jthread> threads_;
};

}  // namespace marketplace::app

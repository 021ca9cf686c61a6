// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "marketplace/wire/worker_json.hpp"
#include "worker/agent/lease_book.hpp"
#include "worker/agent/model_memory.hpp"
#include "worker/executor/executor.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

/// What sessions need from the rest of the agent; faked in tests.
namespace worker::agent {

/// Asks the chain whether a lease is what the market says. Thread-safe.
class LeaseGuard {
 public:
    virtual ~LeaseGuard() = default;
    /// lease_closed: not open, or not under these terms: no work is paid. chain_unreachable,
    /// timeout, chain_bad_answer: could not ask; try again.
    [[nodiscard]] virtual Result<void> check(const LeaseTerms& terms) = 0;
};

/// Content-addressed files: a cache here, the market's store behind it. Thread-safe.
class Blobs {
 public:
    virtual ~Blobs() = default;
    /// The file with this SHA-256, fetched and checked when it is not here.
    [[nodiscard]] virtual Result<std::filesystem::path> fetch(const Hash32& hash) = 0;
    /// Keeps a file of the job (moved into the cache) and uploads it; safe to repeat.
    [[nodiscard]] virtual Result<void> publish(const std::filesystem::path& file,
                                               const Hash32& hash) = 0;
};

/// Where the data keys of sealed jobs come from. Thread-safe.
class KeySource {
 public:
    virtual ~KeySource() = default;
    /// The key that the buyer wrapped for this worker. not_found: none was given so far.
    [[nodiscard]] virtual Result<ledger::base::Bytes> job_key(const std::string& job,
                                                              const Hash32& lease) = 0;
};

/// Messages to the market. Thread-safe; without a connection they are dropped, and what matters is
/// sent again by `Session::tick` and `Session::resync`.
class Outbox {
 public:
    virtual ~Outbox() = default;
    virtual void send(const marketplace::wire::WorkerMessage& message) = 0;
};

enum class LogLevel : std::uint8_t { kInfo, kWarning, kError };
/// One line for the operator of this worker. Thread-safe.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// How much unpaid work is done on trust: work pauses at two periods of either.
struct PaymentPolicy {
    std::uint64_t period_atoms = 250'000;
    std::uint64_t period_ms = 60'000;
};

/// How often what the market does not acknowledge is said again before the next reconnect.
inline constexpr unsigned kResendsMax = 12;

/// What all sessions share. References outlive the sessions.
struct SessionContext {
    const ledger::crypto::PrivateKey& worker;
    ledger::eth::Domain domain;
    executor::Executor& executor;
    LeaseGuard& guard;
    Blobs& blobs;
    KeySource& keys;
    Outbox& outbox;
    ModelMemory& models;
    const ledger::base::Clock& clock;
    LogSink log;
    std::filesystem::path jobs_folder;
    model::RuntimeOptions runtime;
    executor::JobLimits limits;
    PaymentPolicy payment;
    std::uint64_t max_flops_per_step = 0;  ///< what the resource document allows; 0: any
    std::uint64_t retry_ms = 2'000;        ///< between attempts to reach chain or market
    std::uint64_t give_up_ms = 120'000;    ///< after which a lease that cannot start is refused
    std::uint64_t resend_ms = 5'000;       ///< receipts without acknowledgement
    std::uint64_t load_wait_ms = 45'000;   ///< of a request; the market gives up after 60 s
};

/// The work under one lease (training) or a pair of them (serving). All calls return at once.
class Session {
 public:
    virtual ~Session() = default;
    /// The market assigned the lease again, or the connection is back: says again what it may have
    /// missed after its last receipt `market_sequence`.
    virtual void resync(const Hash32& lease, std::uint64_t market_sequence) = 0;
    /// A voucher was countersigned: paused work may go on.
    virtual void paid() = 0;
    virtual void cancel(const std::string& reason) = 0;
    virtual void tick() = 0;
    /// Serving only.
    virtual void infer(const marketplace::wire::Infer& request) = 0;
    virtual void embed(const marketplace::wire::Embed& request) = 0;
    virtual void pace(const marketplace::wire::HoldCompletion& message) = 0;
    virtual void abort(std::uint64_t request) = 0;
    /// Holds the machine: running or about to.
    [[nodiscard]] virtual bool active() const = 0;
    /// Ends the child and the thread; the lease stays open on disk.
    virtual void stop() = 0;
};

/// Transient: asking again may help.
[[nodiscard]] bool is_transient(ledger::base::ErrorCode code) noexcept;

/// SHA-256(salt ‖ data): what a receipt says of a prompt, a completion or a job spec.
[[nodiscard]] Hash32 salted_hash(const Hash32& salt, std::string_view data);

/// The part of a receipt message that training and serving share.
[[nodiscard]] marketplace::wire::ReceiptMessage to_message(const StoredReceipt& stored);

/// Whether a book's unpaid work reached two periods.
[[nodiscard]] bool payment_overdue(const LeaseBook& book, const PaymentPolicy& policy,
                                   std::uint64_t now_ms);

}  // namespace worker::agent

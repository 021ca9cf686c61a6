// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace marketplace::engine {

class SnapshotWriter;

/// Rules that are part of the market's identity: replay needs the same values.
struct EngineConfig {
    ledger::eth::Domain domain;                    ///< of orders, receipts and vouchers
    domain::Address operator_address;              ///< the matcher orders may name
    std::uint64_t max_failovers = 5;               ///< attempts per job after the first
    std::uint64_t voucher_period_atoms = 250'000;  ///< most unpaid at any time
    std::uint64_t batch_period_ms = 10'000;        ///< sealed batches clear at its multiples
};

/// A job as the engine sees it.
struct Job {
    domain::JobId id;
    domain::Address buyer;
    domain::JobTerms terms;
    domain::JobState state = domain::JobState::kOpen;
    std::string reason;
    std::vector<domain::BidLeg> legs;
    std::vector<domain::Hash32> bid_hashes;  ///< struct hash per leg
    std::optional<ledger::eth::Delegation> delegation;
    domain::Signature delegation_signature;
    std::uint64_t units_done = 0;  ///< by accepted receipts (train); a gang's: of its slowest
    domain::Hash32 checkpoint;     ///< last accepted; zero: none
    std::uint64_t attempts = 0;
    std::vector<domain::Address> excluded;  ///< workers that failed this job
    std::vector<domain::Hash32> leases;     ///< all, in order of matching
    domain::TimeMs created_ms = 0;
    domain::TimeMs changed_ms = 0;
};

/// An ask in the book.
struct AskEntry {
    domain::Hash32 id;
    ledger::eth::Ask ask;
    domain::Signature signature;
    domain::Resource resource;
    std::uint64_t units_out = 0;  ///< sold and not released
    bool open = true;
    domain::TimeMs posted_ms = 0;
};

/// Books of one account, in atoms.
struct Balance {
    std::int64_t available = 0;   ///< free in escrow and not held
    std::int64_t held = 0;        ///< reserved for matches and locks
    std::int64_t earned = 0;      ///< paid to it as a provider, after the fee
    std::uint64_t overdrawn = 0;  ///< taken out on chain while it was still held here
};

/// The single writer: command in, events out. Pure and deterministic: no clock, I/O, thread,
/// floating point or randomness. Not thread-safe; one thread owns it.
class Engine {
 public:
    explicit Engine(EngineConfig config);
    ~Engine();
    Engine(Engine&&) noexcept;
    Engine& operator=(Engine&&) noexcept;

    /// Applies a command at `now_ms` (never before the last one: clock_backwards). On failure
    /// nothing changed. Order of checks: shape, idempotency, existence, permission, state, funds.
    /// Signatures are the caller's duty (api checks them over the received bytes).
    /// No events means that nothing changed, neither state hash nor time (a repeated command, a
    /// tick with nothing due): such a command is not journaled.
    [[nodiscard]] ledger::base::Result<std::vector<domain::Event>> apply(
        const domain::Command& command, domain::TimeMs now_ms);
    /// The same with the command's own hashes, computed before.
    [[nodiscard]] ledger::base::Result<std::vector<domain::Event>> apply(
        const domain::Command& command, const domain::MessageHashes& hashes, domain::TimeMs now_ms);

    /// Would this job match now, and why not? The same test as matching; changes nothing. Looks
    /// at every ask.
    struct Quote {
        bool matches = false;
        std::vector<domain::Matched> legs;   ///< prices and locks: one per leg, or per gang member
        std::uint32_t candidates = 0;        ///< asks that fit (serving: pairs, one per worker)
        std::uint64_t total_atoms = 0;       ///< locked by `legs`
        std::uint64_t worst_case_atoms = 0;  ///< the most the job can ever lock
        /// Expected: now, a reserved start, the next batch, or when a worker is free or a ramp
        /// has risen to an ask; 0: not foreseeable.
        domain::TimeMs starts_ms = 0;
        domain::Mismatches reasons;
    };
    /// Fails as posting the job would by its shape alone; who lacks money may ask.
    [[nodiscard]] ledger::base::Result<Quote> quote(const domain::PostJob& job,
                                                    domain::TimeMs now_ms) const;
    /// Why an open job is not matched at `now_ms`: every ask counted. Empty for other jobs.
    [[nodiscard]] domain::Mismatches reasons(const domain::JobId& job, domain::TimeMs now_ms) const;

    /// Rolling hash over all applied commands and events: equal histories, equal hash.
    [[nodiscard]] domain::Hash32 state_hash() const;
    [[nodiscard]] domain::TimeMs last_time_ms() const;

    [[nodiscard]] const Job* find_job(const domain::JobId& id) const;
    /// The job that posted this bid, by the bid's struct hash.
    [[nodiscard]] const Job* find_job_of_bid(const domain::Hash32& bid) const;
    [[nodiscard]] const domain::Lease* find_lease(const domain::Hash32& id) const;
    [[nodiscard]] const AskEntry* find_ask(const domain::Hash32& id) const;
    [[nodiscard]] Balance balance(const domain::Address& account) const;
    /// Visits accounts that have money or owe some, by address.
    void for_each_account(
        const std::function<void(const domain::Address&, const Balance&)>& visit) const;
    /// Visits in order of creation; stop by returning false.
    void for_each_job(const std::function<bool(const Job&)>& visit) const;
    void for_each_lease(const std::function<bool(const domain::Lease&)>& visit) const;
    void for_each_ask(const std::function<bool(const AskEntry&)>& visit) const;

    /// Workers that count as connected (after a restart: until WorkerLost says otherwise).
    [[nodiscard]] std::vector<domain::Address> connected_workers() const;
    /// Completed against failed leases of a worker, in basis points; 10,000 for a new one.
    [[nodiscard]] std::uint32_t reliability_bp(const domain::Address& worker) const;

    /// What settlement has to do, derived from the leases' states; oldest first, at most `limit`.
    [[nodiscard]] std::vector<domain::Hash32> leases_to_open(std::size_t limit) const;
    /// `leases_to_open` also lists a lease whose job ended meanwhile (close_reason set): when its
    /// open was not sent yet, answer LeaseOpenFailed instead of sending it.
    /// Leases whose best voucher is above what the chain paid.
    [[nodiscard]] std::vector<domain::Hash32> leases_to_claim(std::size_t limit) const;
    /// Closing leases with nothing left to claim.
    [[nodiscard]] std::vector<domain::Hash32> leases_to_close(std::size_t limit) const;
    /// The best voucher of a lease with both signatures; empty when there is none.
    [[nodiscard]] std::optional<domain::RecordVoucher> best_voucher(
        const domain::Hash32& lease) const;

    /// The whole state; see snapshot.hpp, which puts a head and a hash around it.
    void save(SnapshotWriter& out) const;
    /// An engine that goes on as the saved one would have: same events, hashes and answers.
    /// invalid_encoding when the bytes are no state of an engine with these rules.
    [[nodiscard]] static ledger::base::Result<Engine> load(EngineConfig config,
                                                           ledger::base::ByteView bytes);

    /// Checks I-01, I-02, I-04, I-11, I-13 over the whole state; the first violation as text.
    [[nodiscard]] std::optional<std::string> find_violation() const;

 private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace marketplace::engine

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/check.hpp"
#include "marketplace/engine/journal.hpp"
#include "marketplace/storage/database.hpp"
#include "marketplace/storage/journal_store.hpp"
#include "tests/support/market.hpp"

#include <array>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

/// Journals as a market would have written them.
namespace bench {

namespace domain = marketplace::domain;

/// Applies commands to an engine of its own and writes what changed something.
class JournalMaker {
 public:
    explicit JournalMaker(marketplace::storage::Database& database)
        : database_(database), journal_(database), engine_(tests::make_config()) {
        MR_CHECK(database_.begin().has_value());
    }
    ~JournalMaker() { MR_CHECK(database_.commit().has_value()); }
    JournalMaker(const JournalMaker&) = delete;
    JournalMaker& operator=(const JournalMaker&) = delete;

    std::uint64_t now_ms = tests::kStartS * 1000;

    /// The events; none when the engine refused it.
    std::vector<domain::Event> add(domain::Command command) {
        auto events = engine_.apply(command, now_ms);
        if (!events || events->empty()) return {};
        marketplace::engine::Record record;
        record.sequence = records_;
        record.time_ms = now_ms;
        record.previous = previous_;
        record.command = std::move(command);
        record.events = *events;
        record.state_hash = engine_.state_hash();
        const domain::Bytes bytes = marketplace::engine::encode_record(record);
        MR_CHECK(journal_.append(records_, bytes).has_value());
        previous_ = marketplace::engine::record_hash(bytes);
        bytes_ += bytes.size();
        if (++records_ % 10'000 == 0) {
            MR_CHECK(database_.commit().has_value());
            MR_CHECK(database_.begin().has_value());
        }
        return std::move(*events);
    }
    [[nodiscard]] std::uint64_t records() const { return records_; }
    [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
    marketplace::storage::Database& database_;
    marketplace::storage::JournalStore journal_;
    marketplace::engine::Engine engine_;
    domain::Hash32 previous_;
    std::uint64_t records_ = 0;
    std::uint64_t bytes_ = 0;
};

/// An ask of one of many hosts; 32 hosts a provider, 32 asks a host.
inline domain::PostAsk varied_ask(std::mt19937_64& random, std::uint64_t serial) {
    constexpr std::array<const char*, 6> kModels = {"a100",     "h100", "l40s",
                                                    "rtx-4090", "t4",   "cpu"};
    auto out = tests::make_ask(serial / 1024, serial, 1000 + random() % 9000);
    out.resource.worker = tests::worker(serial / 32);
    out.resource.gpu_model = kModels[random() % kModels.size()];
    out.resource.region = "region-" + std::to_string(random() % 8);
    out.ask.volume_units = 1000;
    out.ask.max_units = 1000;
    return out;
}

/// A market's day: of a hundred commands about 45 post asks, 20 cancel them, 15 post jobs that
/// match or wait, 10 move a lease on, 5 deposit, 5 let time pass.
class MixedDay {
 public:
    MixedDay(JournalMaker& journal, std::uint64_t seed) : journal_(journal), random_(seed) {}

    void fill(std::uint64_t records) {
        while (journal_.records() < records)
            step();
    }

 private:
    void step() {
        journal_.now_ms += random_() % 20;
        const std::uint64_t dice = random_() % 100;
        if (dice < 45) {
            post_ask();
        } else if (dice < 65) {
            cancel_ask();
        } else if (dice < 80) {
            post_job();
        } else if (dice < 90) {
            advance_lease();
        } else if (dice < 95) {
            journal_.add(domain::EscrowDeposited{tests::buyer(random_() % 500), 50'000'000,
                                                 tests::fixed<domain::Hash32>(++serial_), 0});
        } else {
            journal_.add(domain::Tick{});
        }
    }
    void post_ask() {
        auto ask = varied_ask(random_, ++serial_);
        ask.ask.expiry_s = journal_.now_ms / 1000 + 60 + random_() % 3600;
        if (serial_ % 32 == 0)
            journal_.add(domain::WorkerConnected{ask.resource.worker, ask.ask.provider});
        const auto id = struct_hash(ask.ask);
        const auto provider = ask.ask.provider;
        if (!journal_.add(std::move(ask)).empty()) asks_.push_back({id, provider});
    }
    void cancel_ask() {
        if (asks_.empty()) return;
        const std::size_t at = random_() % asks_.size();
        std::swap(asks_[at], asks_.back());
        journal_.add(domain::CancelAsk{asks_.back().first, asks_.back().second});
        asks_.pop_back();
    }
    void post_job() {
        auto job = tests::make_train_job(random_() % 500, ++serial_, 10 + random_() % 200,
                                         1000 + random_() % 9000);
        auto& bid = job.legs.front().bid;
        bid.deadline_s = journal_.now_ms / 1000 + 600 + random_() % 7200;
        bid.expiry_s = bid.deadline_s - 60;
        note_leases(journal_.add(std::move(job)));
    }
    void advance_lease() {
        if (leases_.empty()) return;
        const std::size_t at = random_() % leases_.size();
        auto& [id, stage] = leases_[at];
        if (stage == 0) {
            journal_.add(domain::LeaseOpenFailed{id, "NotEnoughMoney"});
        } else if (stage == 1) {
            journal_.add(domain::LeaseStarted{id});
        } else {
            note_leases(journal_.add(domain::LeaseFailed{id, "worker_failed"}));
        }
        if (++stage < 3 && stage != 1) return;
        std::swap(leases_[at], leases_.back());
        leases_.pop_back();
    }
    void note_leases(const std::vector<domain::Event>& events) {
        for (const domain::Event& event : events)
            if (const auto* matched = std::get_if<domain::Matched>(&event)) {
                const bool opened = random_() % 8 != 0;
                if (opened)
                    journal_.add(domain::LeaseOpened{matched->lease, matched->locked_atoms, {}});
                leases_.push_back({matched->lease, opened ? 1 : 0});
            }
    }

    JournalMaker& journal_;
    std::mt19937_64 random_;
    std::uint64_t serial_ = 0;
    std::vector<std::pair<domain::Hash32, domain::Address>> asks_;
    std::vector<std::pair<domain::Hash32, int>> leases_;
};

}  // namespace bench

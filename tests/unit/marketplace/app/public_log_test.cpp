// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/public_log.hpp"

#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace {

using namespace marketplace;  // NOLINT: a test of its own

constexpr std::uint64_t kPeriodMs = 10'000;
constexpr domain::TimeMs kPostedMs = tests::kStartS * 1000 + 3;
constexpr domain::TimeMs kBatchMs = engine::unsealed_ms(kPostedMs, kPeriodMs);

class SetClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] domain::TimeMs now_ms() const override { return now; }
    domain::TimeMs now = kPostedMs;
};

struct Log {
    void append(domain::Command command, domain::TimeMs at_ms) {
        clock.now = at_ms;
        engine::Record record;
        record.sequence = disk.size();
        record.time_ms = at_ms;
        record.command = std::move(command);
        disk.push_back(engine::encode_record(record));
        log.append(record, disk.back());
    }
    /// How many records a reader gets.
    [[nodiscard]] std::size_t readable() const {
        const std::size_t got = log.records(0, 100).size();
        CHECK(got == log.size());
        return got;
    }

    SetClock clock;
    std::vector<domain::Bytes> disk;
    app::PublicLog log{[this](std::uint64_t first, std::size_t limit) {
                           const auto from = disk.begin() + static_cast<std::ptrdiff_t>(first);
                           const std::size_t count = std::min(limit, disk.size() - first);
                           return std::vector<domain::Bytes>(
                               from, from + static_cast<std::ptrdiff_t>(count));
                       },
                       clock, kPeriodMs};
};

domain::PostJob sealed_job(std::uint64_t salt) {
    auto job = tests::make_train_job(1, salt, 10, 1000);
    job.legs.front().constraints.clearing = domain::Clearing::kBatch;
    return job;
}

}  // namespace

TEST_CASE("public_log: a sealed bid and what follows it are not shown before its batch") {
    Log log;
    log.append(tests::make_ask(1, 1), kPostedMs);
    log.append(sealed_job(1), kPostedMs);
    log.append(tests::make_ask(1, 2), kPostedMs + 1);
    CHECK(log.readable() == 1);
    log.clock.now = kBatchMs - 1;
    CHECK(log.readable() == 1);
    log.clock.now = kBatchMs;
    CHECK(log.readable() == 3);
    CHECK(log.log.records(3, 10).empty());
    CHECK(log.log.records(2, 10).size() == 1);
}

TEST_CASE("public_log: amended bids are sealed too, and each until its own batch") {
    Log log;
    log.append(sealed_job(1), kPostedMs);
    log.append(domain::AmendJob{{}, sealed_job(2)}, kBatchMs);
    log.append(domain::Tick{}, kBatchMs + 1);
    CHECK(log.readable() == 1);
    log.clock.now = kBatchMs + kPeriodMs;
    CHECK(log.readable() == 3);
}

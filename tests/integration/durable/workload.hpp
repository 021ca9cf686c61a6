// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "tests/support/market.hpp"

#include <atomic>
#include <cstdint>
#include <random>
#include <variant>
#include <vector>

/// Commands that can be told apart in the journal: number `serial` of a seed is always the same,
/// and its record names the serial.
namespace durable {

namespace domain = marketplace::domain;

struct Step {
    std::vector<domain::Command> commands;
    bool with_row = false;  ///< a row of its own in the same transaction
    bool refused = false;   ///< the engine must refuse it
};

inline Step make_step(std::uint64_t seed, std::uint64_t serial) {
    std::mt19937_64 random(seed * 1'000'003 + serial);
    const std::uint64_t who = random() % 7;
    const domain::EscrowDeposited deposit{tests::buyer(who), 1 + random() % 5'000'000,
                                          tests::fixed<domain::Hash32>(serial), 0};
    Step out;
    switch (random() % 10) {
        case 0:
        case 1:
        case 2:
            out.commands = {deposit};
            break;
        case 3:
        case 4:
            out.commands = {tests::make_ask(serial, serial, 500 + random() % 2000)};
            break;
        case 5:
        case 6:
            // Refused while the buyer has not enough money, taken afterwards.
            out.commands = {tests::make_train_job(who, serial, 1 + random() % 200)};
            break;
        case 7:
            out.commands = {
                domain::WorkerConnected{tests::worker(serial), tests::provider(serial)}};
            break;
        case 8: {
            domain::EscrowDeposited second = deposit;
            second.log_index = 1;
            out.commands = {deposit, second};
            out.with_row = true;
            break;
        }
        default: {
            auto ask = tests::make_ask(serial, serial);
            ask.ask.price_atoms = 0;
            out.commands = {ask};
            out.refused = true;
        }
    }
    return out;
}

/// The serial that a record's command names.
inline std::uint64_t serial_of(const domain::Command& command) {
    const auto number = [](const auto& fixed) {
        std::uint64_t out = 0;
        for (std::size_t i = fixed.kSize - 8; i < fixed.kSize; ++i)
            out = out << 8U | fixed.data()[i];
        return out;
    };
    if (const auto* deposit = std::get_if<domain::EscrowDeposited>(&command))
        return number(deposit->transaction);
    if (const auto* ask = std::get_if<domain::PostAsk>(&command)) return number(ask->ask.salt);
    if (const auto* job = std::get_if<domain::PostJob>(&command))
        return number(job->legs.front().bid.salt);
    return number(std::get<domain::WorkerConnected>(command).worker) - 0x2000;
}

/// A clock that now and then goes back.
class UnsteadyClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override {
        const std::uint64_t tick = ticks_.fetch_add(1);
        return tests::kStartS * 1000 + tick - (tick % 16 == 0 ? 500 : 0);
    }

 private:
    mutable std::atomic<std::uint64_t> ticks_{1000};
};

/// What the writer tells the process that kills it.
enum class Outcome : std::uint64_t { kTaken = 0, kRefused = 1, kRepeated = 2 };
struct Answer {
    std::uint64_t serial = 0;
    Outcome outcome = Outcome::kTaken;
};

}  // namespace durable

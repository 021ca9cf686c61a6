// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/welfare/play.hpp"

#include "ledger/base/check.hpp"
#include "tests/support/market.hpp"

#include <algorithm>
#include <functional>
#include <queue>
#include <tuple>
#include <unordered_map>

namespace welfare {
namespace {

namespace domain = marketplace::domain;
using ledger::base::Hash32;

constexpr std::uint64_t kHourS = 3600;
constexpr std::uint64_t kTickS = 60;
constexpr std::uint64_t kBuyers = 50;
constexpr std::uint64_t kDepositAtoms = std::uint64_t{1} << 50U;

/// At one moment orders come in before machines fall free, so that these choose among them.
enum class Happening : std::uint8_t { kArrival, kFinish, kTick };

class Day {
 public:
    Day(const Market& market, Mode mode) : market_(market), mode_(mode) {}

    std::vector<Trade> run() {
        for (std::uint64_t i = 0; i < kBuyers; ++i)
            apply(domain::EscrowDeposited{tests::buyer(i), kDepositAtoms,
                                          tests::fixed<Hash32>(i + 1), 0});
        for (std::uint32_t i = 0; i < market_.machines.size(); ++i)
            list(i);
        for (std::uint32_t i = 0; i < market_.demands.size(); ++i)
            queue_.emplace(market_.demands[i].arrival_s, Happening::kArrival, i);
        for (std::uint64_t at = 0; at <= market_.slots * market_.slot_s; at += kTickS)
            queue_.emplace(at, Happening::kTick, 0);
        while (!queue_.empty()) {
            const auto [at_s, what, number] = queue_.top();
            queue_.pop();
            engine_.now_ms = (tests::kStartS + at_s) * 1000;
            if (what == Happening::kArrival)
                apply(job(number));
            else if (what == Happening::kFinish)
                finish(number);
            else
                apply(domain::Tick{});
        }
        const auto violation = engine_.engine.find_violation();
        MR_CHECK(!violation.has_value());
        return std::move(trades_);
    }

 private:
    /// A worker with an ask for each of its windows.
    void list(std::uint32_t number) {
        const Machine& machine = market_.machines[number];
        const GpuClass& gpu = kClasses[machine.gpu_class];
        apply(domain::WorkerConnected{tests::worker(number), tests::provider(number)});
        for (const Window& window : machine.windows) {
            auto post = tests::make_ask(number, ++salt_, machine.cost_atoms);
            post.resource.gpu_model = gpu.model;
            post.resource.vram_mib = gpu.vram_mib;
            post.resource.region = kRegions[machine.region].name;
            post.resource.max_gang = 64;
            post.ask.earliest_s = tests::kStartS + window.from * market_.slot_s;
            post.ask.expiry_s = tests::kStartS + window.until * market_.slot_s;
            machine_of_.emplace(struct_hash(post.ask), number);
            apply(post);
        }
    }

    domain::PostJob job(std::uint32_t number) {
        const Demand& demand = market_.demands[number];
        auto post =
            tests::make_train_job(number % kBuyers, number + 1, demand.steps, demand.value_atoms);
        domain::BidLeg& leg = post.legs.front();
        leg.bid.salt = tests::fixed<Hash32>(++salt_);
        leg.bid.max_amount_atoms = kDepositAtoms / 1024;
        leg.bid.volume_units = demand.gang * demand.steps;
        leg.bid.earliest_s = tests::kStartS + demand.arrival_s;
        leg.bid.expiry_s = leg.bid.earliest_s + demand.patience_s;
        leg.bid.deadline_s = leg.bid.expiry_s + 24 * kHourS;
        domain::Constraints& wanted = leg.constraints;
        wanted.gang = static_cast<std::uint16_t>(demand.gang);
        if (demand.gang > 1) wanted.gpu_models = {std::string(kClasses[demand.gpu_class].model)};
        wanted.min_vram_mib = kClasses[demand.gpu_class].vram_mib;
        if (demand.region) wanted.regions = {std::string(kRegions[*demand.region].name)};
        if (mode_ == Mode::kBatch && demand.gang == 1) wanted.clearing = domain::Clearing::kBatch;
        if (mode_ == Mode::kRamp) {
            wanted.ramp_from_atoms = demand.value_atoms / 2;
            wanted.ramp_start_s = leg.bid.earliest_s;
            wanted.ramp_end_s = leg.bid.earliest_s + demand.patience_s * 3 / 4;
        }
        return post;
    }

    void apply(const domain::Command& command) {
        const auto events = engine_.apply(command);
        MR_CHECK(events.has_value());
        std::vector<domain::Matched> matches;
        for (const auto& event : *events)
            if (const auto* matched = std::get_if<domain::Matched>(&event))
                matches.push_back(*matched);
        for (const domain::Matched& matched : matches)
            start(matched);
    }

    void start(const domain::Matched& matched) {
        const domain::Lease& lease = *engine_.engine.find_lease(matched.lease);
        std::uint64_t number = 0;
        for (std::size_t i = 8; i < domain::JobId::kSize; ++i)
            number = number << 8U | matched.job.data()[i];
        const auto demand = static_cast<std::uint32_t>(number - 1);
        const std::uint32_t machine = machine_of_.at(matched.ask_hash);
        const std::uint64_t now_s = engine_.now_ms / 1000 - tests::kStartS;
        trades_.push_back({demand, machine, now_s, lease.price_atoms});
        auto& leases = leases_[demand];
        leases.push_back(matched.lease);
        apply(domain::LeaseOpened{matched.lease, lease.locked_atoms, {}});
        apply(domain::LeaseStarted{matched.lease});
        if (leases.size() != market_.demands[demand].gang) return;
        const std::uint32_t slots =
            slots_on(market_, market_.demands[demand], market_.machines[machine].gpu_class);
        queue_.emplace(now_s + slots * market_.slot_s, Happening::kFinish, demand);
    }

    /// The work is done: receipts and vouchers over all of it, then claims and closes.
    void finish(std::uint32_t demand) {
        const std::vector<Hash32> leases = leases_.at(demand);
        for (const Hash32& lease : leases) {
            apply(engine_.next_receipt(lease, market_.demands[demand].steps));
            apply(engine_.full_voucher(lease));
        }
        for (const Hash32& lease : leases)
            apply(domain::LeaseFinished{lease});
        for (const Hash32& lease : leases) {
            apply(engine_.full_claim(lease));
            apply(engine_.close_of(lease));
            const domain::Lease& closed = *engine_.engine.find_lease(lease);
            MR_CHECK(closed.state == domain::LeaseState::kClosed);
            MR_CHECK(closed.claimed_atoms == market_.demands[demand].steps * closed.price_atoms);
        }
    }

    const Market& market_;
    Mode mode_;
    tests::Market engine_;
    std::uint64_t salt_ = 0;
    std::unordered_map<Hash32, std::uint32_t> machine_of_;  // by ask
    std::unordered_map<std::uint32_t, std::vector<Hash32>> leases_;
    std::vector<Trade> trades_;
    using Entry = std::tuple<std::uint64_t, Happening, std::uint32_t>;
    std::priority_queue<Entry, std::vector<Entry>, std::greater<>> queue_;
};

}  // namespace

std::string_view to_string(Mode mode) noexcept {
    switch (mode) {
        case Mode::kLimit:
            return "limit";
        case Mode::kRamp:
            return "ramp";
        case Mode::kBatch:
            return "batch";
    }
    return "?";
}

std::vector<Trade> play(const Market& market, Mode mode) {
    return Day(market, mode).run();
}

}  // namespace welfare

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/market.hpp"
#include "tests/support/naive_market.hpp"
#include "tests/support/random_lease_steps.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

namespace tests {

/// Commands at random for a small market in which everything collides: few workers, buyers,
/// prices and times; orders of every kind, lives of leases, and nonsense. The same seed gives the
/// same commands for the same market.
class RandomCommands : private RandomLeaseSteps {
 public:
    struct Timed {
        md::Command command;
        md::TimeMs now_ms = 0;
    };

    /// What the orders may use: fewer features make a disagreement easier to understand.
    struct Features {
        bool amends = true;
        bool batches = true;
        bool durations = true;
        bool gangs = true;
        bool interruptible = true;
        bool ramps = true;
        bool reserved = true;
        bool slices = true;
    };

    RandomCommands(std::uint64_t seed, Features features)
        : RandomLeaseSteps(seed), features_(features) {
        for (std::uint64_t n = 0; n < kWorkers; ++n)
            queue_.emplace_back(md::WorkerConnected{worker(n), provider_of(worker(n))});
        for (std::uint64_t n = 0; n < kBuyers; ++n)
            queue_.emplace_back(md::EscrowDeposited{buyer(n), 100'000, fixed<Hash32>(++salt_), 0});
        for (int i = 0; i < 10; ++i)
            queue_.emplace_back(ask());
    }

    /// The next command; picks ids and leases from `market`.
    [[nodiscard]] Timed next(const NaiveMarket& market) {
        if (one_in(40) && !past_.empty()) return {any_of(past_), now_ms_};
        pass_time();
        md::Command command = queue_.empty() ? pick(market) : queue_.front();
        if (!queue_.empty()) queue_.pop_front();
        past_.push_back(command);
        if (one_in(60)) return {std::move(command), now_ms_ - below(3000)};
        return {std::move(command), now_ms_};
    }

 private:
    static constexpr std::uint64_t kWorkers = 5;
    static constexpr std::uint64_t kBuyers = 3;

    [[nodiscard]] std::uint64_t now_s() const { return now_ms_ / 1000; }

    void pass_time() {
        static constexpr std::uint64_t kHour = 3'600'000;
        if (one_in(3)) return;
        now_ms_ += one_in(400) ? below(kHour) : one_in(25) ? below(60'000) : below(1500);
        if (one_in(8)) now_ms_ -= now_ms_ % 1000;  // just when something is due
    }

    [[nodiscard]] Address some_worker() { return worker(below(kWorkers)); }
    [[nodiscard]] static Address provider_of(const Address& of) {
        return provider(of.data()[Address::kSize - 1] % 3U);
    }
    [[nodiscard]] Address some_buyer() {
        if (one_in(12)) return one_in(2) ? provider(0) : worker(1);  // deals with itself
        return buyer(below(kBuyers));
    }

    [[nodiscard]] md::Command pick(const NaiveMarket& market) {
        const std::uint64_t dice = below(100);
        if (dice < 10) return ask();
        if (dice < 27) return job();
        if (dice < 30) return cancel_ask(market);
        if (dice < 33) return cancel_job(market);
        if (dice < 36 && features_.amends) return amend(market);
        if (dice < 40) return worker_moves();
        if (dice < 45) return money(market);
        if (dice < 49 || market.leases().empty()) return md::Tick{};
        return lease_step(market);
    }

    [[nodiscard]] md::PostAsk ask() {
        const Address worker = some_worker();
        md::PostAsk out;
        auto& has = out.resource;
        has = {any_of<std::string>({"h100", "h100", "cpu"}),
               static_cast<std::uint32_t>(1 + below(2)),
               any_of<std::uint64_t>({4096, 8192}),
               4096,
               static_cast<std::uint32_t>(2 + below(4)),
               any_of<std::string>({"eu", "eu", "us"}),
               "libtorch",
               any_of<std::uint64_t>({1000, 1000, 1000, 500}),
               worker,
               100 + below(100),
               static_cast<std::uint32_t>(100 * below(3)),
               one_in(3) ? "nvlink" : "",
               static_cast<std::uint8_t>(one_in(4) ? below(16) : 15),
               static_cast<std::uint8_t>(one_in(6) ? 0 : 2),
               static_cast<std::uint16_t>(one_in(4) ? 1 : 4),
               {},
               {},
               static_cast<std::uint32_t>(100 * below(4)),
               static_cast<std::uint32_t>(20'000 * below(4))};
        if (one_in(20)) has.buyers = {buyer(0), buyer(1)};
        if (one_in(20)) has.exclude_buyers = {buyer(0)};
        auto& ask = out.ask;
        ask.provider = one_in(25) ? provider(below(3)) : provider_of(worker);
        ask.unit_kind =
            any_of({UnitKind::kTrainingStep, UnitKind::kTrainingStep, UnitKind::kTrainingStep,
                    UnitKind::kInputToken, UnitKind::kOutputToken});
        ask.price_atoms = price(6, ask.unit_kind);
        ask.min_units = any_of<std::uint64_t>({1, 1, 1, 5});
        ask.max_units = any_of<std::uint64_t>({10, 20, 40, 100});
        ask.volume_units = ask.max_units * (1 + below(3));
        if (ask.unit_kind != UnitKind::kTrainingStep) {
            ask.max_units *= 100'000;
            ask.volume_units *= 100'000;
        }
        ask.order_class = order_class();
        if (ask.order_class == ledger::eth::OrderClass::kInterruptible)
            ask.reclaim_window_s = any_of<std::uint32_t>({0, 1, 10, 60});
        ask.earliest_s = one_in(10) ? now_s() + below(60) : now_s() - below(10);
        ask.expiry_s = now_s() + 1 + any_of<std::uint64_t>({below(60), 600, 4000, 20'000});
        ask.salt = fixed<Hash32>(++salt_);
        if (ask.unit_kind == UnitKind::kInputToken && !one_in(5)) {
            md::PostAsk output = out;  // so that it can serve
            output.ask.unit_kind = UnitKind::kOutputToken;
            output.ask.price_atoms = price(6, UnitKind::kOutputToken);
            queue_.emplace_back(std::move(output));
        }
        if (one_in(8)) ask.matcher = market_operator();
        if (one_in(25)) spoil(out);
        return out;
    }

    [[nodiscard]] ledger::eth::OrderClass order_class() {
        using ledger::eth::OrderClass;
        const auto chosen =
            any_of({OrderClass::kOnDemand, OrderClass::kOnDemand, OrderClass::kOnDemand,
                    OrderClass::kStanding, OrderClass::kInterruptible, OrderClass::kInterruptible,
                    OrderClass::kReserved});
        if (chosen == OrderClass::kInterruptible && !features_.interruptible)
            return OrderClass::kOnDemand;
        if (chosen == OrderClass::kReserved && !features_.reserved) return OrderClass::kStanding;
        return chosen;
    }
    [[nodiscard]] std::uint64_t price(std::uint64_t levels, UnitKind kind) {
        const std::uint64_t scale = kind == UnitKind::kTrainingStep ? 1
                                    : kind == UnitKind::kGpuMs      ? 36
                                                                    : 10;
        return 100 * scale * (1 + below(levels)) + (one_in(5) ? below(3) : 0);
    }

    void spoil(md::PostAsk& c) {
        switch (below(12)) {
            case 0:
                c.ask.price_atoms = any_of<std::uint64_t>({0, 1ULL << 51U, 1ULL << 63U});
                break;
            case 1:
                c.ask.max_units = any_of<std::uint64_t>({0, 1ULL << 63U});
                break;
            case 2:
                c.ask.volume_units = any_of<std::uint64_t>({0, 1ULL << 63U});
                break;
            case 3:
                c.ask.min_units = c.ask.max_units + 1;
                break;
            case 4:
                std::swap(c.ask.earliest_s, c.ask.expiry_s);
                break;
            case 5:
                c.ask.provider = {};
                break;
            case 6:
                c.ask.matcher = buyer(9);
                break;
            case 7:
                c.resource.worker = {};
                break;
            case 8:
                c.resource.gpu_model.clear();
                break;
            case 9:
                c.resource.region.assign(65, 'x');
                break;
            case 10:
                c.ask.expiry_s = now_s() - 1;
                break;
            default:
                c.resource.max_gang = 0;
                break;
        }
    }

    [[nodiscard]] md::PostJob job() {
        const Address buyer = some_buyer();
        md::PostJob out;
        out.id = fixed<JobId>(++salt_);
        const bool trains = !one_in(5);
        if (trains) {
            out.terms.total_units = any_of<std::uint64_t>({1, 5, 10, 20, 40, 60});
            out.terms.segment_units = 1 + below(out.terms.total_units);
            out.terms.flops_per_step = any_of<std::uint64_t>({100, 1000});
            const bool by_time = one_in(8);
            if (by_time) out.terms.total_units *= 100'000;
            out.legs.push_back(leg(buyer, by_time ? UnitKind::kGpuMs : UnitKind::kTrainingStep));
            train_options(out);
        } else {
            out.terms.kind = md::JobKind::kServe;
            out.legs.push_back(leg(buyer, UnitKind::kInputToken));
            out.legs.push_back(leg(buyer, UnitKind::kOutputToken));
            for (md::BidLeg& each : out.legs)
                each.bid.volume_units = 100'000 * (1 + below(30));
        }
        if (one_in(12)) {
            out.delegation = {buyer,
                              provider(8),
                              static_cast<std::uint8_t>(1 + below(3)),
                              one_in(3) ? 100ULL : 1'000'000'000ULL,
                              now_s() + 99'999,
                              0};
        }
        if (one_in(25)) spoil(out);
        return out;
    }

    [[nodiscard]] md::BidLeg leg(const Address& buyer, UnitKind kind) {
        md::BidLeg out;
        auto& bid = out.bid;
        bid.buyer = buyer;
        bid.unit_kind = kind;
        bid.price_ceiling_atoms = price(8, kind);
        bid.max_amount_atoms = one_in(8) ? 1000 + below(10'000) : 1'000'000;
        bid.order_class = order_class();
        if (kind == UnitKind::kInputToken || kind == UnitKind::kOutputToken)
            bid.order_class = one_in(4) ? ledger::eth::OrderClass::kInterruptible
                                        : ledger::eth::OrderClass::kStanding;
        bid.verification_tier = static_cast<std::uint8_t>(below(3));
        bid.earliest_s = one_in(8) ? now_s() + below(40) : now_s() - below(10);
        bid.deadline_s = now_s() + 45 + any_of<std::uint64_t>({below(60), 600, 4000, 20'000});
        bid.expiry_s = one_in(4) ? now_s() + 41 + below(60) : bid.deadline_s;
        bid.salt = fixed<Hash32>(++salt_);
        if (one_in(2)) constrain(out.constraints);
        if (features_.durations && one_in(3))
            out.constraints.max_duration_s = any_of<std::uint64_t>({5, 30, 300});
        return out;
    }

    void constrain(md::Constraints& want) {
        if (one_in(3)) want.gpu_models = {"h100"};
        if (one_in(12)) want.gpu_models = {"cpu", "h100"};
        if (one_in(8)) want.min_gpu_count = 2;
        if (one_in(8)) want.min_vram_mib = 8192;
        if (one_in(6)) want.regions = {"eu"};
        if (one_in(20)) want.runtimes = {one_in(3) ? "cuda" : "libtorch"};
        if (one_in(20)) want.providers = {provider(0), provider(1)};
        if (one_in(15)) want.exclude_providers = {provider(below(3))};
        if (one_in(20)) want.min_ram_mib = 4096 + below(2);
        if (one_in(20)) want.min_disk_mib = 150;
        if (one_in(20)) want.min_cpu_cores = 4;
        if (one_in(20)) want.min_bandwidth_mbps = 100;
        if (one_in(20)) want.min_gflop_per_s = 200;
        if (one_in(20)) want.min_memory_mb_per_s = 40'000;
        if (one_in(12)) want.min_reliability_bp = any_of<std::uint32_t>({10'000, 6000, 3000});
        if (one_in(12)) want.min_reclaim_window_s = 10;
        if (one_in(20)) want.interconnects = {"nvlink"};
        if (one_in(8)) want.numeric_class = static_cast<md::NumericClass>(below(5));
    }

    /// Gangs, slices, ramps and batches; sometimes together, which may be refused.
    void train_options(md::PostJob& job) {
        auto& [bid, signature, want] = job.legs[0];
        const std::uint64_t total = job.terms.total_units;
        bid.volume_units = total * (1 + below(2));
        if (bid.order_class == ledger::eth::OrderClass::kReserved && !one_in(4))
            bid.earliest_s = now_s() + below(40);
        if (features_.gangs && one_in(6)) {
            want.gang = static_cast<std::uint16_t>(2 + below(2));
            bid.volume_units = total * want.gang - (one_in(10) ? 1 : 0);
        }
        if (features_.slices && one_in(6)) want.min_slice_units = 1 + below(total);
        if (features_.ramps && one_in(8)) {
            want.ramp_from_atoms = 1 + below(bid.price_ceiling_atoms);
            want.ramp_start_s = now_s() - 5 + below(20);
            want.ramp_end_s = want.ramp_start_s + 1 + below(60);
        } else if (features_.batches && one_in(5)) {
            want.clearing = md::Clearing::kBatch;
        }
    }

    void spoil(md::PostJob& c) {
        md::BidLeg& leg = c.legs.back();
        switch (below(features_.reserved ? 21 : 13)) {
            case 0:
                c.legs.clear();
                break;
            case 1:
                c.terms.total_units = any_of<std::uint64_t>({0, 1ULL << 63U});
                break;
            case 2:
                c.terms.segment_units = any_of<std::uint64_t>({0, 1000});
                break;
            case 3:
                leg.bid.price_ceiling_atoms = any_of<std::uint64_t>({0, 1ULL << 51U, ~0ULL});
                break;
            case 4:
                leg.bid.volume_units = any_of<std::uint64_t>({0, 1ULL << 63U});
                break;
            case 5:
                leg.bid.max_amount_atoms = any_of<std::uint64_t>({0, 1ULL << 63U});
                break;
            case 6:
                leg.bid.earliest_s = leg.bid.deadline_s;
                break;
            case 7:
                leg.bid.buyer = {};
                break;
            case 8:
                leg.bid.matcher = provider(3);
                break;
            case 9:
                leg.constraints.regions.assign(65, "r");
                break;
            case 10:
                leg.bid.unit_kind = UnitKind::kGpuMs;
                break;
            case 11:
                leg.bid.expiry_s = now_s() - 1;
                break;
            case 12:
                c.legs.push_back(leg);
                break;
            case 13:
                leg.constraints.gang = any_of<std::uint16_t>({0, 65'535});
                break;
            case 14:
                leg.constraints.min_reliability_bp = 10'001;
                break;
            case 15:
                leg.constraints.ramp_from_atoms = leg.bid.price_ceiling_atoms + 1;
                break;
            case 16:
                leg.constraints.ramp_from_atoms = 1;
                break;
            case 17:
                leg.constraints.clearing = md::Clearing::kBatch;
                break;
            case 18:
                leg.bid.order_class = ledger::eth::OrderClass::kReserved;
                break;
            case 19:
                c.terms.kind = md::JobKind::kServe;
                break;
            default:
                leg.constraints.min_slice_units = 1ULL << 63U;
                break;
        }
    }

    [[nodiscard]] md::Hash32 some_ask(const NaiveMarket& market) {
        if (market.asks().empty() || one_in(15)) return fixed<Hash32>(5);
        const std::size_t recent = std::min<std::size_t>(market.asks().size(), 30);
        return market.asks()[market.asks().size() - 1 - below(recent)].id;
    }
    [[nodiscard]] JobId some_job(const NaiveMarket& market) {
        if (market.jobs().empty() || one_in(15)) return fixed<JobId>(5'000'000);
        const std::size_t recent = std::min<std::size_t>(market.jobs().size(), 20);
        return market.jobs()[market.jobs().size() - 1 - below(recent)].post.id;
    }
    [[nodiscard]] md::Command cancel_ask(const NaiveMarket& market) {
        const md::Hash32 id = some_ask(market);
        Address by = provider(below(3));
        for (const auto& ask : market.asks())
            if (ask.id == id && !one_in(8)) by = ask.post.ask.provider;
        return md::CancelAsk{id, by};
    }
    [[nodiscard]] md::Command cancel_job(const NaiveMarket& market) {
        const JobId id = some_job(market);
        Address by = buyer(below(3));
        for (const auto& job : market.jobs())
            if (job.post.id == id && !one_in(8)) by = job.buyer();
        return md::CancelJob{id, by};
    }
    [[nodiscard]] md::Command amend(const NaiveMarket& market) {
        if (one_in(2)) {
            md::AmendAsk out{some_ask(market), ask()};
            for (const auto& known : market.asks()) {
                if (known.id != out.old_ask || one_in(8)) continue;
                const auto replaced = out.replacement.ask;
                out.replacement = known.post;
                out.replacement.ask.price_atoms = price(6, known.post.ask.unit_kind);
                out.replacement.ask.expiry_s = replaced.expiry_s;
                out.replacement.ask.salt = replaced.salt;
            }
            return out;
        }
        md::AmendJob out{some_job(market), job()};
        for (const auto& known : market.jobs()) {
            if (known.post.id != out.old_job || one_in(8)) continue;
            for (md::BidLeg& leg : out.replacement.legs)
                leg.bid.buyer = known.buyer();
            if (out.replacement.delegation) out.replacement.delegation->owner = known.buyer();
        }
        return out;
    }

    [[nodiscard]] md::Command worker_moves() {
        const Address worker = some_worker();
        if (one_in(3)) return md::WorkerLost{one_in(10) ? fixed(77) : worker};
        if (one_in(30)) return md::WorkerConnected{worker, provider(below(3))};
        return md::WorkerConnected{worker, provider_of(worker)};
    }
    [[nodiscard]] md::Command money(const NaiveMarket& market) {
        const Address account = some_buyer();
        std::uint64_t atoms = 1000 + below(150'000);
        const Hash32 transaction = fixed<Hash32>(++salt_);
        if (one_in(30)) atoms = any_of<std::uint64_t>({0, 1ULL << 63U, ~0ULL});
        if (one_in(5)) {
            const auto free = static_cast<std::uint64_t>(market.account(account).free);
            if (!one_in(3)) atoms = std::min(atoms, free / 2);
            return md::EscrowWithdrawn{account, atoms, transaction, 0};
        }
        return md::EscrowDeposited{account, atoms, transaction, 0};
    }

    /// Mostly the natural next step of a young lease, sometimes any step of any lease.
    [[nodiscard]] md::Command lease_step(const NaiveMarket& market) {
        const auto& leases = market.leases();
        std::vector<std::size_t> at_work;
        for (std::size_t i = 0; i < leases.size(); ++i)
            if (leases[i].is.state < md::LeaseState::kClosing) at_work.push_back(i);
        std::size_t chosen = leases.size() - 1 - below(std::min<std::size_t>(leases.size(), 30));
        if (!at_work.empty() && !one_in(4)) chosen = any_of(at_work);
        const auto& lease = leases[chosen];
        if (one_in(100)) return step_of(lease.is, below(10), fixed<Hash32>(1));
        if (one_in(12)) return step_of(lease.is, below(10), lease.is.id);
        const std::uint64_t dice = below(100);
        const auto choose = [&](std::initializer_list<std::pair<std::uint64_t, int>> steps) {
            for (const auto& [limit, step] : steps)
                if (dice < limit)
                    return step_of(lease.is, static_cast<std::uint64_t>(step), lease.is.id);
            return step_of(lease.is, 0, lease.is.id);
        };
        switch (lease.is.state) {
            case md::LeaseState::kMatched:
                return choose({{85, kOpened}, {100, kOpenFailed}});
            case md::LeaseState::kOpen:
                return choose(
                    {{85, kStarted}, {95, kFailed}, {98, kCloseRequested}, {100, kCloseConfirmed}});
            case md::LeaseState::kRunning:
                if (lease.is.units == lease.is.max_units && dice < 50)
                    return step_of(lease.is, kFinished, lease.is.id);
                return choose({{65, kReceipt},
                               {75, kVoucher},
                               {83, kClaim},
                               {88, kFinished},
                               {95, kFailed},
                               {98, kCloseRequested},
                               {100, kCloseConfirmed}});
            default:
                return choose({{25, kVoucher},
                               {50, kClaim},
                               {60, kCloseRequested},
                               {90, kCloseConfirmed},
                               {100, kReceipt}});
        }
    }

    Features features_;
    std::deque<md::Command> queue_;  ///< to be sent next
    md::TimeMs now_ms_ = kStartS * 1000;
    std::vector<md::Command> past_;
};

}  // namespace tests

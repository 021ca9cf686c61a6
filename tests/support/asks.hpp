// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/bid_book.hpp"
#include "marketplace/matching/order_book.hpp"
#include "tests/support/market.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

/// A seeded crowd of asks and bids, and the naive way to pair them.
namespace tests {

namespace mm = marketplace::matching;
using ledger::eth::OrderClass;

struct ListedAsk {
    Hash32 id;
    ledger::eth::Ask ask;
    marketplace::domain::Resource resource;
    mm::AskState state;
    const mm::Calendar* calendar = nullptr;
    bool listed = false;

    [[nodiscard]] mm::Offer offer() const {
        return {id,      ask, resource, state.free_units, state.available, state.reliability_bp,
                calendar};
    }
};

struct CrowdOptions {
    std::uint64_t models = 10;
    std::uint64_t regions = 8;
    std::uint64_t prices = 1'000'000;
    std::uint64_t hosts = 1U << 20U;
    std::uint64_t hosts_per_provider = 1;
    bool constraint_heavy = true;  ///< one bid in four carries lists and rare demands
    bool serving = false;          ///< some bids share their worker
    bool classes = false;          ///< orders of all classes; else on demand
};

class Crowd {
 public:
    Crowd(std::uint64_t seed, CrowdOptions options) : random_(seed), options_(options) {}

    [[nodiscard]] ListedAsk ask(std::uint64_t salt) {
        ListedAsk out;
        const std::uint64_t host = below(options_.hosts);
        out.ask = make_ask(host, salt, 1000 + below(options_.prices)).ask;
        out.ask.provider = provider(host / options_.hosts_per_provider);
        out.ask.min_units = below(8) == 0 ? 50 : 1;
        out.ask.max_units = 100 * (1 + below(50));
        out.ask.volume_units = out.ask.max_units * (1 + below(3));
        out.ask.earliest_s = kStartS - 10 + (below(16) == 0 ? below(1000) : 0);
        out.ask.expiry_s = kStartS + 1 + below(100'000);
        if (options_.classes) out.ask.order_class = order_class();
        out.ask.reclaim_window_s = static_cast<std::uint32_t>(60 * below(10));
        out.resource = machine(host);
        if (below(32) == 0) out.resource.buyers = {buyer(below(64)), buyer(below(64))};
        if (below(32) == 0) out.resource.exclude_buyers = {buyer(below(64))};
        out.state = {out.ask.volume_units, static_cast<std::uint32_t>(10'000 - below(20) * 100),
                     below(16) != 0};
        out.id = fixed<Hash32>(salt);
        return out;
    }

    struct Bid {
        marketplace::domain::BidLeg leg;
        marketplace::domain::JobTerms terms;
        std::uint64_t units = 0;
        std::vector<Address> excluded_workers;
        std::vector<Hash32> excluded_asks;
        std::size_t gang = 1;

        [[nodiscard]] mm::Want want() const {
            const mm::TimeMs now_ms = kStartS * 1000;
            return {leg.bid,
                    leg.constraints,
                    terms,
                    units,
                    excluded_workers,
                    excluded_asks,
                    now_ms,
                    mm::offered_price(leg.bid, leg.constraints, now_ms)};
        }
    };
    /// A bid for one model in two regions, with demands on memory, units and reliability.
    [[nodiscard]] Bid bid(std::uint64_t salt) {
        Bid out;
        out.leg = make_leg(below(1U << 16U), salt, UnitKind::kTrainingStep,
                           1000 + options_.prices / 4 + below(options_.prices), 1'000'000);
        if (below(options_.serving ? 4 : 64) == 0) out.leg.bid.buyer = buyer(below(64));
        if (options_.classes) out.leg.bid.order_class = order_class();
        out.leg.bid.max_amount_atoms = 1ULL << 50U;
        out.terms.flops_per_step = 1'000'000ULL << below(4);
        if (options_.serving && below(4) == 0)
            out.terms.kind = marketplace::domain::JobKind::kServe;
        out.units = 60 + below(400);
        auto& wanted = out.leg.constraints;
        wanted.gpu_models = {"gpu-" + std::to_string(below(options_.models))};
        wanted.regions = {"region-" + std::to_string(below(options_.regions)),
                          "region-" + std::to_string(below(options_.regions))};
        wanted.min_vram_mib = 8192ULL << below(4);
        wanted.min_reliability_bp = static_cast<std::uint32_t>(9'000 - below(5) * 1000);
        if (options_.constraint_heavy && below(4) == 0) demand_more(out);
        return out;
    }

    [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

 private:
    [[nodiscard]] OrderClass order_class() {
        return static_cast<OrderClass>(below(2) == 0 ? below(4) : 0);
    }
    [[nodiscard]] std::string interconnect() {
        return below(3) == 0 ? "nvlink" : below(2) == 0 ? "pcie" : "";
    }
    [[nodiscard]] marketplace::domain::Resource machine(std::uint64_t host) {
        marketplace::domain::Resource out;
        out.gpu_model = "gpu-" + std::to_string(below(options_.models));
        out.gpu_count = static_cast<std::uint32_t>(1U << below(4));
        out.vram_mib = 8192ULL << below(5);
        out.ram_mib = 16'384ULL << below(5);
        out.cpu_cores = static_cast<std::uint32_t>(4U << below(5));
        out.region = "region-" + std::to_string(below(options_.regions));
        out.runtime = below(3) == 0 ? "torch-1.13-cuda" : "torch-2.1-cuda";
        out.max_flops_per_step = 1'000'000ULL << below(8);
        out.worker = worker(host);
        out.disk_mib = 10'000 * (1 + below(100));
        out.bandwidth_mbps = static_cast<std::uint32_t>(100 * (1 + below(100)));
        out.interconnect = interconnect();
        out.numeric_classes = static_cast<std::uint8_t>(below(4) == 0 ? below(16) : 15);
        out.verification_tier = static_cast<std::uint8_t>(below(4));
        out.max_gang = static_cast<std::uint16_t>(4U << below(5));
        out.gflop_per_s = static_cast<std::uint32_t>(1000 * below(100));
        out.memory_mb_per_s = static_cast<std::uint32_t>(10'000 * below(100));
        return out;
    }
    /// Each of these with its own chance, so that all pairs of demands come up.
    void demand_more(Bid& out) {
        auto& wanted = out.leg.constraints;
        auto& bid = out.leg.bid;
        const auto now_and_then = [this] { return below(4) == 0; };
        if (now_and_then()) wanted.min_gpu_count = static_cast<std::uint32_t>(1U << below(4));
        if (now_and_then()) wanted.runtimes = {"torch-2.1-cuda"};
        if (now_and_then()) wanted.interconnects = {"nvlink", "unheard"};
        if (now_and_then()) wanted.min_ram_mib = 16'384ULL << below(5);
        if (now_and_then()) wanted.min_cpu_cores = static_cast<std::uint32_t>(below(64));
        if (now_and_then()) wanted.min_disk_mib = 1000 * below(1000);
        if (now_and_then()) wanted.min_bandwidth_mbps = static_cast<std::uint32_t>(below(10'000));
        if (now_and_then()) wanted.min_gflop_per_s = static_cast<std::uint32_t>(below(100'000));
        if (now_and_then())
            wanted.min_memory_mb_per_s = static_cast<std::uint32_t>(below(1'000'000));
        if (now_and_then())
            wanted.numeric_class = static_cast<marketplace::domain::NumericClass>(below(5));
        if (now_and_then()) bid.verification_tier = static_cast<std::uint8_t>(below(4));
        if (now_and_then()) wanted.gang = static_cast<std::uint16_t>(1 + below(64));
        if (now_and_then())
            wanted.min_reclaim_window_s = static_cast<std::uint32_t>(60 * below(10));
        if (now_and_then()) {
            out.units = 1 + below(10'000);
            wanted.min_slice_units = 1 + below(200);
        }
        if (now_and_then()) wanted.max_duration_s = 1 + below(20'000);
        if (now_and_then()) bid.earliest_s = kStartS - 10 + below(2000);
        if (now_and_then()) bid.deadline_s = kStartS + 1 + below(20'000);
        if (now_and_then()) bid.max_amount_atoms = out.units * (1000 + below(options_.prices));
        if (now_and_then())
            wanted.exclude_providers = {provider(below(options_.hosts)),
                                        provider(below(options_.hosts))};
        if (now_and_then()) out.excluded_workers = {worker(below(options_.hosts))};
        if (below(8) == 0) wanted.gpu_models.push_back("gpu-0");
        if (below(16) == 0) wanted.gpu_models.clear();
        if (below(8) == 0) wanted.regions.clear();
        if (below(16) == 0) wanted.min_vram_mib = 1'000'000;  // nobody has it
        if (below(16) == 0)
            for (int i = 0; i < 8; ++i)
                wanted.providers.push_back(provider(below(options_.hosts)));
        if (now_and_then()) {
            wanted.ramp_from_atoms = 1 + below(bid.price_ceiling_atoms);
            wanted.ramp_start_s = kStartS - below(100);
            wanted.ramp_end_s = kStartS + 1 + below(100);
        }
    }

    std::mt19937_64 random_;
    CrowdOptions options_;
};

/// In the order in which asks are taken: price, then reliability, then age.
[[nodiscard]] inline bool is_better(const std::vector<ListedAsk>& asks, mm::AskIndex a,
                                    mm::AskIndex b) {
    if (asks[a].ask.price_atoms != asks[b].ask.price_atoms)
        return asks[a].ask.price_atoms < asks[b].ask.price_atoms;
    if (asks[a].state.reliability_bp != asks[b].state.reliability_bp)
        return asks[a].state.reliability_bp > asks[b].state.reliability_bp;
    return a < b;
}

/// All that fit, best first, by looking at every ask.
[[nodiscard]] inline std::vector<mm::AskIndex> all_naively(const std::vector<ListedAsk>& asks,
                                                           const Crowd::Bid& bid) {
    std::vector<mm::AskIndex> out;
    const mm::Want want = bid.want();
    for (mm::AskIndex i = 0; i < asks.size(); ++i)
        if (asks[i].listed && !mm::first_mismatch(asks[i].offer(), want)) out.push_back(i);
    std::sort(out.begin(), out.end(),
              [&](mm::AskIndex a, mm::AskIndex b) { return is_better(asks, a, b); });
    return out;
}

/// The gang of all that fit: the best of each worker, then the best of those.
[[nodiscard]] inline std::vector<mm::AskIndex> gang_naively(
    const std::vector<ListedAsk>& asks, const std::vector<mm::AskIndex>& fitting,
    std::size_t count) {
    std::vector<mm::AskIndex> out;
    std::vector<Address> workers;
    for (const mm::AskIndex i : fitting) {
        const Address& host = asks[i].resource.worker;
        if (std::find(workers.begin(), workers.end(), host) != workers.end()) continue;
        workers.push_back(host);
        out.push_back(i);
        if (out.size() == count) return out;
    }
    return {};
}

}  // namespace tests

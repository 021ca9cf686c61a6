// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/matching/order_book.hpp"
#include "tests/support/market.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

/// A seeded crowd of asks and bids, and the naive way to pair them.
namespace tests {

namespace mm = marketplace::matching;

struct ListedAsk {
    Hash32 id;
    ledger::eth::Ask ask;
    marketplace::domain::Resource resource;
    mm::OrderBook::State state;
    bool listed = false;
};

/// How a crowd is made. Defaults are those of reference/performance.md, section 2.3.
struct CrowdOptions {
    std::uint64_t models = 10;
    std::uint64_t regions = 8;
    std::uint64_t prices = 1'000'000;
    bool constraint_heavy = true;  ///< one bid in four carries lists and rare demands
};

class Crowd {
 public:
    Crowd(std::uint64_t seed, CrowdOptions options) : random_(seed), options_(options) {}

    [[nodiscard]] ListedAsk ask(std::uint64_t salt) {
        ListedAsk out;
        const std::uint64_t host = below(1U << 20U);
        out.ask = make_ask(host, salt, 1000 + below(options_.prices)).ask;
        out.ask.min_units = below(8) == 0 ? 50 : 1;
        out.ask.max_units = 100 * (1 + below(50));
        out.ask.volume_units = out.ask.max_units * (1 + below(3));
        out.ask.expiry_s = kStartS + 1 + below(100'000);
        out.resource = {"gpu-" + std::to_string(below(options_.models)),
                        static_cast<std::uint32_t>(1U << below(4)),
                        8192ULL << below(5),
                        65536,
                        8,
                        "region-" + std::to_string(below(options_.regions)),
                        below(3) == 0 ? "libtorch-1.13.1-cuda" : "libtorch-2.1-cuda",
                        1'000'000ULL << below(8),
                        worker(host),
                        0,
                        0,
                        {},
                        0,
                        0,
                        64,
                        {},
                        {}};
        out.state = {out.ask.volume_units, static_cast<std::uint32_t>(10'000 - below(20) * 100),
                     below(16) != 0};
        out.id = fixed<Hash32>(salt);
        return out;
    }

    /// A bid for one model in two regions, with demands on memory, units and reliability.
    struct Bid {
        marketplace::domain::BidLeg leg;
        marketplace::domain::JobTerms terms;
        std::uint64_t units = 0;
        std::uint32_t min_reliability_bp = 0;
        std::vector<Address> excluded_workers;
        std::size_t gang = 1;

        [[nodiscard]] mm::Want want() const {
            return {leg.bid,
                    leg.constraints,
                    terms,
                    units,
                    excluded_workers,
                    {},
                    kStartS * 1000,
                    leg.bid.price_ceiling_atoms};
        }
    };
    [[nodiscard]] Bid bid(std::uint64_t salt) {
        Bid out;
        out.leg = make_leg(below(1U << 16U), salt, UnitKind::kTrainingStep,
                           1000 + options_.prices / 4 + below(options_.prices), 1'000'000);
        out.leg.bid.max_amount_atoms = 1ULL << 50U;
        out.terms.flops_per_step = 1'000'000ULL << below(4);
        out.units = 60 + below(400);
        auto& wanted = out.leg.constraints;
        wanted.gpu_models = {"gpu-" + std::to_string(below(options_.models))};
        wanted.regions = {"region-" + std::to_string(below(options_.regions)),
                          "region-" + std::to_string(below(options_.regions))};
        wanted.min_vram_mib = 8192ULL << below(4);
        out.min_reliability_bp = static_cast<std::uint32_t>(9'000 - below(5) * 1000);
        if (!options_.constraint_heavy || below(4) != 0) return out;
        wanted.min_gpu_count = static_cast<std::uint32_t>(1U << below(4));
        wanted.runtimes = {"libtorch-2.1-cuda"};
        wanted.exclude_providers = {provider(below(1U << 20U)), provider(below(1U << 20U))};
        out.excluded_workers = {worker(below(1U << 20U))};
        if (below(4) == 0) wanted.regions.clear();
        if (below(16) == 0) wanted.min_vram_mib = 1'000'000;  // nobody has it
        return out;
    }

    [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

 private:
    std::mt19937_64 random_;
    CrowdOptions options_;
};

[[nodiscard]] inline bool fits_naively(const ListedAsk& ask, const Crowd::Bid& bid) {
    const mm::Offer offer{ask.id,
                          ask.ask,
                          ask.resource,
                          ask.state.free_units,
                          ask.state.available,
                          ask.state.reliability_bp};
    return ask.listed && ask.state.reliability_bp >= bid.min_reliability_bp &&
           !mm::first_mismatch(offer, bid.want());
}

/// Price, then reliability, then age, by looking at every ask.
[[nodiscard]] inline std::optional<mm::AskIndex> best_naively(const std::vector<ListedAsk>& asks,
                                                              const Crowd::Bid& bid) {
    std::optional<mm::AskIndex> best;
    for (mm::AskIndex i = 0; i < asks.size(); ++i) {
        if (!fits_naively(asks[i], bid)) continue;
        if (!best || asks[i].ask.price_atoms < asks[*best].ask.price_atoms ||
            (asks[i].ask.price_atoms == asks[*best].ask.price_atoms &&
             asks[i].state.reliability_bp > asks[*best].state.reliability_bp))
            best = i;
    }
    return best;
}

/// The gang the naive way: the cheapest of each worker, then the cheapest workers.
[[nodiscard]] inline std::vector<mm::AskIndex> gang_naively(const std::vector<ListedAsk>& asks,
                                                            const Crowd::Bid& bid) {
    std::vector<mm::AskIndex> fits;
    for (mm::AskIndex i = 0; i < asks.size(); ++i)
        if (fits_naively(asks[i], bid)) fits.push_back(i);
    std::stable_sort(fits.begin(), fits.end(), [&asks](mm::AskIndex a, mm::AskIndex b) {
        if (asks[a].ask.price_atoms != asks[b].ask.price_atoms)
            return asks[a].ask.price_atoms < asks[b].ask.price_atoms;
        return asks[a].state.reliability_bp > asks[b].state.reliability_bp;
    });
    std::vector<mm::AskIndex> out;
    std::vector<Address> workers;
    for (const mm::AskIndex i : fits) {
        const Address& host = asks[i].resource.worker;
        if (std::find(workers.begin(), workers.end(), host) != workers.end()) continue;
        workers.push_back(host);
        out.push_back(i);
        if (out.size() == bid.gang) return out;
    }
    return {};
}

}  // namespace tests

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/bid_book.hpp"

#include "ledger/base/check.hpp"

namespace marketplace::matching {

BidRank rank_of(JobIndex job, const domain::BidLeg& first) noexcept {
    const std::uint64_t ceiling = first.bid.price_ceiling_atoms;
    const std::uint64_t from = first.constraints.ramp_from_atoms;
    return {from == 0 ? ceiling : std::min(from, ceiling), job};
}

// Bids in and out -------------------------------------------------------------------------------

/// A leg that may one day pay more than its job's rank says stands apart, so that the others'
/// search can end at the first rank below the ask's price.
BidBook::LadderId BidBook::ladder_for(ledger::eth::UnitKind kind, std::uint32_t model,
                                      bool is_late) {
    std::vector<LadderId>& ladders = ladders_[static_cast<std::size_t>(kind)];
    const std::size_t at = 2 * std::size_t{model} + (is_late ? 1 : 0);
    if (ladders.size() <= at) ladders.resize(at + 1, kNone);
    if (ladders[at] == kNone) ladders[at] = rows_.add_ladder();
    return ladders[at];
}

void BidBook::link(JobIndex job, LadderId ladder) {
    std::uint32_t& head = resting_[job].links;
    if (free_links_.empty()) {
        free_links_.push_back(static_cast<std::uint32_t>(links_.size()));
        links_.emplace_back();
    }
    const std::uint32_t fresh = free_links_.back();
    free_links_.pop_back();
    links_[fresh] = {ladder, head};
    head = fresh;
}

void BidBook::put(const BidRank& rank, ledger::eth::UnitKind kind, std::uint32_t model,
                  const Signature& need, const Row::Hot& row) {
    const LadderId ladder = ladder_for(kind, model, row.most_atoms > rank.price_atoms);
    for (std::uint32_t at = resting_[rank.job].links; at != kNone; at = links_[at].next) {
        if (links_[at].ladder != ladder) continue;
        // It stands there already, by another name or leg: once, for what the easier one takes.
        const Rows::Place place = rows_.find(ladder, row.key);
        Row::Hot& both = rows_.hot(place);
        rows_.signature(place) = easiest_of(rows_.signature(place), need);
        both.most_atoms = std::max(both.most_atoms, row.most_atoms);
        rows_.changed(place);
        return;
    }
    rows_.insert(ladder, need, row, [](const Row::Hot&, Rows::Place) {});
    link(rank.job, ladder);
}

void BidBook::add_leg(const BidRank& rank, const Want& want) {
    const Signature need = need_signature(want);
    const Row::Hot row{key_of(rank), want.bid.price_ceiling_atoms};
    const auto& models = want.constraints.gpu_models;
    for (const std::string& model : models) {
        // One name too many goes among those for any model: the exact test is the owner's.
        const bool is_known = models_.size() < kMaxModels || models_.find(model) != kNone;
        put(rank, want.bid.unit_kind, is_known ? models_.intern(model) : kAnyModel, need, row);
    }
    if (models.empty()) put(rank, want.bid.unit_kind, kAnyModel, need, row);
}

void BidBook::add(const BidRank& rank, std::span<const Want> wants) {
    if (resting_.size() <= rank.job) resting_.resize(std::size_t{rank.job} + 1);
    MR_CHECK(resting_[rank.job].links == kNone);
    MR_CHECK(!wants.empty());
    resting_[rank.job].price_atoms = rank.price_atoms;
    for (const Want& want : wants)
        add_leg(rank, want);
    ++size_;
}

bool BidBook::contains(JobIndex job) const noexcept {
    return job < resting_.size() && resting_[job].links != kNone;
}

void BidBook::remove(JobIndex job) {
    if (!contains(job)) return;
    const Key key = key_of({resting_[job].price_atoms, job});
    for (std::uint32_t at = resting_[job].links; at != kNone; at = links_[at].next) {
        const Rows::Place place = rows_.find(links_[at].ladder, key);
        MR_CHECK(place != Rows::kNowhere);
        rows_.erase(place, [](const Row::Hot&, Rows::Place) {});
        free_links_.push_back(at);
    }
    resting_[job].links = kNone;
    --size_;
}

// Searching -------------------------------------------------------------------------------------

BidBook::Offered BidBook::offered(const ledger::eth::Ask& ask, const domain::Resource& resource,
                                  const AskState& state) const {
    const std::uint32_t model = models_.find(resource.gpu_model);
    // A model no bid ever named: only bids for any model can use it.
    return {ask.unit_kind, ask.price_atoms, model == kNone ? kAnyModel : model,
            offer_signature(ask, resource, state)};
}

void BidBook::search(std::size_t at, const Offered& offered, Found& found) const {
    const std::vector<LadderId>& ladders = ladders_[static_cast<std::size_t>(offered.unit_kind)];
    if (at >= ladders.size() || ladders[at] == kNone) return;
    const auto may = [&offered](const Row::Bound& bound) {
        return offered.price_atoms <= bound.most_atoms && may_meet(offered.signature, bound.need);
    };
    Key limit = found.limit;
    const bool is_late = at % 2 != 0;
    if (!is_late) limit = std::min(limit, Key{~offered.price_atoms, UINT64_MAX});
    Effort effort;
    rows_.walk(ladders[at], found.from, limit, effort, may, [&](const Rows::Block& block) {
        bool hit = false;
        for (std::uint32_t i = 0; i < block.count; ++i) {
            const Row::Hot& row = block.hot(i);
            const bool fits = static_cast<int>(offered.price_atoms <= row.most_atoms) &
                              static_cast<int>(may_meet(offered.signature, block.signatures[i])) &
                              static_cast<int>(!is_before(row.key, found.from)) &
                              static_cast<int>(!is_before(limit, row.key));
            if (!fits) continue;
            limit = row.key;
            hit = true;
        }
        if (hit) found = {found.from, limit, true};
        return hit;
    });
}

std::optional<BidRank> BidBook::next(const Offered& offered,
                                     const std::optional<BidRank>& after) const {
    Found found;
    if (after) found.from = key_of({after->price_atoms, after->job}, 1);
    for (const std::uint32_t model : {kAnyModel, offered.model}) {
        search(2 * std::size_t{model}, offered, found);
        search(2 * std::size_t{model} + 1, offered, found);
        if (offered.model == kAnyModel) break;
    }
    if (!found.is_found) return std::nullopt;
    return rank_of(found.limit);
}

// Checks ----------------------------------------------------------------------------------------

std::size_t BidBook::memory_bytes() const noexcept {
    std::size_t out = rows_.memory_bytes() + models_.memory_bytes() +
                      resting_.capacity() * sizeof(Resting) + links_.capacity() * sizeof(Link) +
                      free_links_.capacity() * sizeof(std::uint32_t);
    for (const auto& ladders : ladders_)
        out += ladders.capacity() * sizeof(LadderId);
    return out;
}

std::optional<std::string> BidBook::find_violation() const {
    std::size_t rows = 0;
    auto found = rows_.find_violation([&](const Row::Hot& row, Rows::Place) {
        ++rows;
        const BidRank rank = rank_of(row.key);
        return contains(rank.job) && resting_[rank.job].price_atoms == rank.price_atoms;
    });
    if (!found && rows != links_.size() - free_links_.size()) return "the count of bids";
    return found;
}

}  // namespace marketplace::matching

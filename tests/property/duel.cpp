// SPDX-License-Identifier: Apache-2.0
#include "tests/property/duel.hpp"

#include "ledger/base/hex.hpp"
#include "tests/support/market.hpp"

#include <algorithm>
#include <sstream>
#include <variant>

namespace tests {

namespace {

using ledger::base::ErrorCode;

/// What is wrong with the form of a command may be named in any order.
bool is_shape(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_field:
        case ErrorCode::invalid_price:
        case ErrorCode::invalid_quantity:
        case ErrorCode::invalid_window:
        case ErrorCode::job_limit:
        case ErrorCode::out_of_range:
        case ErrorCode::unsupported:
            return true;
        default:
            return false;
    }
}
bool same_refusal(ErrorCode a, ErrorCode b) {
    return a == b || (is_shape(a) && is_shape(b));
}

template <typename T>
std::vector<T> events_of(const std::vector<md::Event>& events) {
    std::vector<T> out;
    for (const md::Event& event : events)
        if (const T* found = std::get_if<T>(&event)) out.push_back(*found);
    return out;
}

/// The number at the end of a test's id or address; the head of a hash.
template <typename Fixed>
std::string brief(const Fixed& value) {
    const std::string hex =
        ledger::base::to_hex(ledger::base::ByteView(value.data(), value.size()));
    if (hex.find_first_not_of('0', 2) < 10) return hex.substr(2, 6);
    const std::size_t digits = hex.find_first_not_of('0', 2);
    return digits == hex.npos ? "0" : hex.substr(digits);
}

std::string brief(const md::Lease& lease) {
    std::ostringstream out;
    out << "lease " << brief(lease.id) << " of job " << brief(lease.job) << ' '
        << to_string(lease.state) << '/' << to_string(lease.close_reason) << " ask "
        << brief(lease.ask_hash) << " worker " << brief(lease.worker) << " price "
        << lease.price_atoms << " units " << lease.units << '/' << lease.max_units << " from "
        << lease.start_units << " lock " << lease.locked_atoms << " paid " << lease.claimed_atoms
        << " [" << lease.starts_ms << ", " << lease.ends_ms << ") reclaim " << lease.reclaim_at_ms;
    return out.str();
}

template <typename Job>
std::string brief_job(const md::JobId& id, const Job& job, std::uint64_t done) {
    std::ostringstream out;
    out << "job " << brief(id) << ' ' << to_string(job.state) << " done " << done << " attempts "
        << job.attempts << " leases " << job.leases.size() << " excluded";
    for (const md::Address& worker : job.excluded)
        out << ' ' << brief(worker);
    return out.str();
}

std::string brief(const marketplace::engine::Balance& b) {
    return std::to_string(b.available) + " free, " + std::to_string(b.held) + " held, " +
           std::to_string(b.earned) + " earned";
}
std::string brief(const md::Matched& m) {
    return "job " + brief(m.job) + " ask " + brief(m.ask_hash) + " index " +
           std::to_string(m.index) + " price " + std::to_string(m.price_atoms) + " units " +
           std::to_string(m.max_units) + " lock " + std::to_string(m.locked_atoms);
}
std::string brief(const md::LeaseReclaimed& r) {
    return "lease " + brief(r.lease) + " by job " + brief(r.by) + " at " + std::to_string(r.at_ms);
}
std::string brief(const md::BatchCleared& b) {
    std::string out = "batch";
    for (const std::string& model : b.gpu_models)
        out += ' ' + model;
    return out + " price " + std::to_string(b.price_atoms) + " bids " + std::to_string(b.bids) +
           " matched " + std::to_string(b.matched);
}

template <typename T>
std::optional<std::string> differ(const char* what, const T& engine, const T& naive) {
    if (engine == naive) return std::nullopt;
    std::ostringstream out;
    out << what << ": engine {";
    for (const auto& item : engine)
        out << ' ' << brief(item) << ';';
    out << " } naive {";
    for (const auto& item : naive)
        out << ' ' << brief(item) << ';';
    out << " }";
    return out.str();
}

/// The fields that both keep; the rest of the engine's record follows from them.
bool same(const md::Lease& a, const md::Lease& b) {
    const auto key = [](const md::Lease& v) {
        return std::tie(v.id, v.job, v.leg, v.ask_hash, v.bid_hash, v.index, v.buyer, v.provider,
                        v.worker, v.unit_kind, v.price_atoms, v.max_units, v.locked_atoms, v.state,
                        v.close_reason, v.start_units, v.start_checkpoint, v.sequence,
                        v.last_receipt, v.units, v.amount_atoms, v.receipts_root,
                        v.voucher_sequence, v.voucher_amount_atoms, v.claimed_atoms, v.fee_atoms,
                        v.refunded_atoms, v.starts_ms, v.ends_ms, v.reclaim_at_ms);
    };
    return key(a) == key(b);
}

std::vector<md::Address> known_accounts() {
    return {buyer(0), buyer(1), buyer(2), provider(0), provider(1), provider(2), worker(1)};
}

}  // namespace

Duel::Duel() : engine_(make_config()), naive_(make_config()) {}

std::optional<std::string> Duel::step(const Timed& timed) {
    const md::Hash32 hash = engine_.state_hash();
    const md::TimeMs time = engine_.last_time_ms();
    auto result = engine_.apply(timed.command, timed.now_ms);
    events_ = result ? *result : std::vector<md::Event>{};
    if (events_.empty() ? engine_.state_hash() != hash || engine_.last_time_ms() != time
                        : engine_.last_time_ms() != timed.now_ms)
        return "state hash or time moved without events, or events without time";
    if (timed.now_ms < time) {
        if (result || result.error().code() != ErrorCode::clock_backwards)
            return "the clock went back and nobody minded";
        return std::nullopt;
    }
    const NaiveMarket::Outcome expected = naive_.apply(timed.command, timed.now_ms);
    if (result.has_value() == expected.refused.has_value() ||
        (!result && !same_refusal(result.error().code(), *expected.refused)))
        return "engine: " + (result ? "accepted" : result.error().message()) + "; naive: " +
               std::string(expected.refused ? to_string(*expected.refused) : "accepted");
    if (const auto violation = engine_.find_violation()) return "violation: " + *violation;
    if (auto d = compare_events(expected)) return d;
    if (auto d = compare_asks()) return d;
    if (auto d = compare_jobs()) return d;
    if (auto d = compare_leases()) return d;
    return compare_accounts();
}

std::optional<std::string> Duel::compare_events(const NaiveMarket::Outcome& expected) const {
    if (auto d = differ("matches", events_of<md::Matched>(events_), expected.matched)) return d;
    if (auto d = differ("reclaims", events_of<md::LeaseReclaimed>(events_), expected.reclaims))
        return d;
    return differ("batches", events_of<md::BatchCleared>(events_), expected.batches);
}

std::optional<std::string> Duel::compare_asks() const {
    std::size_t count = 0;
    engine_.for_each_ask([&count](const auto&) { return ++count, true; });
    if (count != naive_.asks().size()) return "number of asks";
    for (const auto& ask : naive_.asks()) {
        const auto* entry = engine_.find_ask(ask.id);
        if (entry == nullptr) return "ask " + brief(ask.id) + " is missing";
        if (entry->open != ask.open) return "ask " + brief(ask.id) + " open or not";
        if (entry->units_out != naive_.units_out(ask))
            return "ask " + brief(ask.id) + " units out: engine " +
                   std::to_string(entry->units_out) + ", naive " +
                   std::to_string(naive_.units_out(ask));
    }
    return std::nullopt;
}

std::optional<std::string> Duel::compare_jobs() const {
    std::size_t count = 0;
    engine_.for_each_job([&count](const auto&) { return ++count, true; });
    if (count != naive_.jobs().size()) return "number of jobs";
    for (const auto& job : naive_.jobs()) {
        const auto* is = engine_.find_job(job.post.id);
        if (is == nullptr) return "job " + brief(job.post.id) + " is missing";
        std::vector<md::Hash32> leases;
        for (const std::size_t lease : job.leases)
            leases.push_back(naive_.leases()[lease].is.id);
        if (is->state != job.state || is->units_done != job.done ||
            is->checkpoint != job.checkpoint || is->attempts != job.attempts ||
            is->excluded != job.excluded || is->leases != leases)
            return "engine " + brief_job(job.post.id, *is, is->units_done) + " (" + is->reason +
                   "); naive " + brief_job(job.post.id, job, job.done);
    }
    return std::nullopt;
}

std::optional<std::string> Duel::compare_leases() const {
    std::size_t count = 0;
    engine_.for_each_lease([&count](const auto&) { return ++count, true; });
    if (count != naive_.leases().size()) return "number of leases";
    for (const auto& lease : naive_.leases()) {
        const auto* is = engine_.find_lease(lease.is.id);
        if (is == nullptr) return "lease " + brief(lease.is.id) + " is missing";
        if (!same(*is, lease.is)) return "engine " + brief(*is) + "; naive " + brief(lease.is);
    }
    return std::nullopt;
}

std::optional<std::string> Duel::compare_accounts() const {
    for (const md::Address& owner : known_accounts()) {
        const auto is = engine_.balance(owner);
        const auto should = naive_.account(owner);
        if (is.available != should.free || is.held != should.held || is.earned != should.earned)
            return "account " + brief(owner) + ": engine " + brief(is) + "; naive " +
                   brief({should.free, should.held, should.earned});
    }
    for (const auto& [worker, state] : naive_.workers())
        if (engine_.reliability_bp(worker) != naive_.reliability_bp(worker))
            return "reliability of worker " + brief(worker) + ": engine " +
                   std::to_string(engine_.reliability_bp(worker)) + ", naive " +
                   std::to_string(naive_.reliability_bp(worker));
    return std::nullopt;
}

std::string Duel::describe() const {
    std::ostringstream out;
    for (const auto& ask : naive_.asks())
        if (ask.open)
            out << "  ask " << brief(ask.id) << " of " << brief(ask.post.ask.provider) << " worker "
                << brief(ask.post.resource.worker) << " price " << ask.post.ask.price_atoms
                << " out " << naive_.units_out(ask) << '/' << ask.post.ask.volume_units << '\n';
    for (const auto& job : naive_.jobs())
        if (!is_final(job.state)) out << "  " << brief_job(job.post.id, job, job.done) << '\n';
    for (const auto& lease : naive_.leases())
        if (lease.is.state < md::LeaseState::kClosed) out << "  " << brief(lease.is) << '\n';
    return out.str();
}

namespace {

std::string text_of(const md::PostAsk& c) {
    std::ostringstream out;
    out << brief(struct_hash(c.ask)) << " of " << brief(c.ask.provider) << " worker "
        << brief(c.resource.worker) << ' ' << to_string(c.ask.unit_kind) << ' '
        << to_string(c.ask.order_class) << " price " << c.ask.price_atoms << " units "
        << c.ask.min_units << ".." << c.ask.max_units << " volume " << c.ask.volume_units << " ["
        << c.ask.earliest_s << ", " << c.ask.expiry_s << ") reclaim " << c.ask.reclaim_window_s
        << " gang " << c.resource.max_gang << ' ' << c.resource.gpu_model << ' '
        << c.resource.region << " tier " << int{c.resource.verification_tier} << " classes "
        << int{c.resource.numeric_classes} << " flops " << c.resource.max_flops_per_step;
    return out.str();
}
std::string text_of(const md::PostJob& c) {
    std::ostringstream out;
    out << brief(c.id) << ' ' << to_string(c.terms.kind) << " units " << c.terms.total_units
        << " flops " << c.terms.flops_per_step;
    for (const auto& [bid, signature, want] : c.legs) {
        out << "\n      leg of " << brief(bid.buyer) << ' ' << to_string(bid.unit_kind) << ' '
            << to_string(bid.order_class) << " ceiling " << bid.price_ceiling_atoms << " max "
            << bid.max_amount_atoms << " volume " << bid.volume_units << " [" << bid.earliest_s
            << ", " << bid.deadline_s << ") expiry " << bid.expiry_s << " tier "
            << int{bid.verification_tier} << " gang " << want.gang << " slice "
            << want.min_slice_units << " duration " << want.max_duration_s << ' '
            << to_string(want.clearing) << " ramp " << want.ramp_from_atoms << " ["
            << want.ramp_start_s << ", " << want.ramp_end_s << ") reliability "
            << want.min_reliability_bp << " class " << to_string(want.numeric_class) << " reclaim "
            << want.min_reclaim_window_s;
        for (const auto& model : want.gpu_models)
            out << ' ' << model;
    }
    if (c.delegation) out << " delegated " << c.delegation->spend_cap_atoms;
    return out.str();
}
std::string text_of(const md::CancelAsk& c) {
    return brief(c.ask) + " by " + brief(c.by);
}
std::string text_of(const md::CancelJob& c) {
    return brief(c.job) + " by " + brief(c.by);
}
std::string text_of(const md::WorkerConnected& c) {
    return brief(c.worker) + " of " + brief(c.provider);
}
std::string text_of(const md::WorkerLost& c) {
    return brief(c.worker);
}
std::string text_of(const md::EscrowDeposited& c) {
    return brief(c.account) + ' ' + std::to_string(c.amount_atoms);
}
std::string text_of(const md::EscrowWithdrawn& c) {
    return brief(c.account) + ' ' + std::to_string(c.amount_atoms);
}
std::string text_of(const md::AmendAsk& c) {
    return brief(c.old_ask) + " to " + text_of(c.replacement);
}
std::string text_of(const md::AmendJob& c) {
    return brief(c.old_job) + " to " + text_of(c.replacement);
}
std::string text_of(const md::SubmitReceipt& c) {
    return brief(c.receipt.lease) + " sequence " + std::to_string(c.receipt.sequence) + " units " +
           std::to_string(c.receipt.cumulative_units);
}
std::string text_of(const md::RecordVoucher& c) {
    return brief(c.voucher.lease) + " sequence " + std::to_string(c.voucher.sequence);
}
std::string text_of(const md::ClaimConfirmed& c) {
    return brief(c.lease) + " total " + std::to_string(c.cumulative_amount_atoms) + " paid " +
           std::to_string(c.paid_atoms) + " fee " + std::to_string(c.fee_atoms);
}
std::string text_of(const md::LeaseFailed& c) {
    return brief(c.lease) + ' ' + c.code;
}
std::string text_of(const md::Tick&) {
    return {};
}
template <typename Step>
std::string text_of(const Step& c) {
    return brief(c.lease);
}

}  // namespace

std::string describe(const Duel::Timed& timed) {
    return std::to_string(timed.now_ms) + ' ' + std::string(name_of(timed.command)) + ' ' +
           std::visit([](const auto& c) { return text_of(c); }, timed.command);
}

std::vector<Duel::Timed> shrink(std::vector<Duel::Timed> commands) {
    const auto disagree = [](const std::vector<Duel::Timed>& list) {
        Duel duel;
        return std::any_of(list.begin(), list.end(),
                           [&duel](const Duel::Timed& timed) { return duel.step(timed); });
    };
    for (std::size_t piece = commands.size() / 2; piece > 0; piece /= 2) {
        for (std::size_t at = 0; at + piece <= commands.size();) {
            auto fewer = commands;
            const auto from = fewer.begin() + static_cast<std::ptrdiff_t>(at);
            fewer.erase(from, from + static_cast<std::ptrdiff_t>(piece));
            if (disagree(fewer)) {
                commands = std::move(fewer);
            } else {
                at += piece;
            }
        }
    }
    return commands;
}

}  // namespace tests

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/sha256.hpp"
#include "ledger/log/merkle_tree.hpp"
#include "marketplace/engine/engine.hpp"

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// Builders of orders and a small market to try them on, without signatures (the engine does not
/// look at them).
namespace tests {

using ledger::base::Address;
using ledger::base::Hash32;
using ledger::base::JobId;
using ledger::eth::UnitKind;

inline constexpr std::uint64_t kStartS = 1'700'000'000;

template <typename Fixed = Address>
[[nodiscard]] Fixed fixed(std::uint64_t number) {
    Fixed out;
    for (std::size_t i = 0; i < 8; ++i)
        out.data()[Fixed::kSize - 1 - i] = static_cast<std::uint8_t>(number >> (8 * i));
    return out;
}
[[nodiscard]] inline Address provider(std::uint64_t n) {
    return fixed(0x1000 + n);
}
[[nodiscard]] inline Address worker(std::uint64_t n) {
    return fixed(0x2000 + n);
}
[[nodiscard]] inline Address buyer(std::uint64_t n) {
    return fixed(0x3000 + n);
}
[[nodiscard]] inline Address market_operator() {
    return fixed(0x9999);
}

/// An ask of worker n: training steps at 1,000 atoms, room for everything.
[[nodiscard]] inline marketplace::domain::PostAsk make_ask(
    std::uint64_t n, std::uint64_t salt, std::uint64_t price = 1000,
    UnitKind kind = UnitKind::kTrainingStep) {
    marketplace::domain::PostAsk out;
    out.resource = {"cpu",   1,         4096, 4096, 2,  "local", "libtorch-1.13.1-cpu",
                    1000000, worker(n), 0,    0,    {}, 0,       0,
                    1,       {},        {}};
    out.ask.provider = provider(n);
    out.ask.unit_kind = kind;
    out.ask.price_atoms = price;
    out.ask.min_units = 1;
    out.ask.max_units = 1'000'000;
    out.ask.earliest_s = kStartS - 10;
    out.ask.expiry_s = kStartS + 100'000;
    out.ask.volume_units = 10'000'000;
    out.ask.salt = fixed<Hash32>(salt);
    return out;
}

[[nodiscard]] inline marketplace::domain::BidLeg make_leg(std::uint64_t n, std::uint64_t salt,
                                                          UnitKind kind, std::uint64_t ceiling,
                                                          std::uint64_t volume) {
    marketplace::domain::BidLeg leg;
    leg.bid.buyer = buyer(n);
    leg.bid.unit_kind = kind;
    leg.bid.price_ceiling_atoms = ceiling;
    leg.bid.max_amount_atoms = 1'000'000'000;
    leg.bid.earliest_s = kStartS - 10;
    leg.bid.deadline_s = kStartS + 50'000;
    leg.bid.expiry_s = kStartS + 40'000;
    leg.bid.volume_units = volume;
    leg.bid.salt = fixed<Hash32>(salt);
    return leg;
}

/// A training job of buyer n: `steps` at no more than `ceiling` atoms each.
[[nodiscard]] inline marketplace::domain::PostJob make_train_job(std::uint64_t n,
                                                                 std::uint64_t salt,
                                                                 std::uint64_t steps = 100,
                                                                 std::uint64_t ceiling = 2000) {
    marketplace::domain::PostJob out;
    out.id = fixed<JobId>(salt);
    out.terms = {marketplace::domain::JobKind::kTrain, steps, std::min<std::uint64_t>(steps, 25),
                 1000};
    out.legs.push_back(make_leg(n, salt, UnitKind::kTrainingStep, ceiling, steps));
    return out;
}

/// A serving job of buyer n: tokens of both kinds.
[[nodiscard]] inline marketplace::domain::PostJob make_serve_job(std::uint64_t n,
                                                                 std::uint64_t salt,
                                                                 std::uint64_t tokens = 1'000'000,
                                                                 std::uint64_t ceiling = 2000) {
    marketplace::domain::PostJob out;
    out.id = fixed<JobId>(salt);
    out.terms.kind = marketplace::domain::JobKind::kServe;
    out.legs.push_back(make_leg(n, salt, UnitKind::kInputToken, ceiling, tokens));
    out.legs.push_back(make_leg(n, salt, UnitKind::kOutputToken, ceiling, tokens));
    return out;
}

[[nodiscard]] inline marketplace::engine::EngineConfig make_config() {
    marketplace::engine::EngineConfig config;
    config.domain = {31337, fixed(0x7777)};
    config.operator_address = market_operator();
    return config;
}

/// An engine with a hand-driven clock.
class Market {
 public:
    using Events = std::vector<marketplace::domain::Event>;
    using Code = ledger::base::ErrorCode;

    marketplace::engine::Engine engine{make_config()};
    std::uint64_t now_ms = kStartS * 1000;

    ledger::base::Result<Events> apply(const marketplace::domain::Command& command) {
        return engine.apply(command, now_ms);
    }
    /// The command must succeed; its events.
    Events must(const marketplace::domain::Command& command) {
        auto result = apply(command);
        if (!result) throw std::runtime_error(result.error().message());
        if (const auto violation = engine.find_violation()) throw std::runtime_error(*violation);
        return std::move(*result);
    }
    /// The command must fail and change nothing; its code.
    Code refused(const marketplace::domain::Command& command) {
        const Hash32 before = engine.state_hash();
        const auto result = apply(command);
        if (result) throw std::runtime_error("not refused");
        if (engine.state_hash() != before) throw std::runtime_error("a refusal changed the state");
        return result.error().code();
    }
    void deposit(const Address& account, std::uint64_t atoms) {
        must(marketplace::domain::EscrowDeposited{account, atoms, fixed<Hash32>(++deposits_), 0});
    }
    /// Worker n connected, with an ask; the ask's id.
    Hash32 list(std::uint64_t n, std::uint64_t salt, std::uint64_t price = 1000,
                UnitKind kind = UnitKind::kTrainingStep) {
        must(marketplace::domain::WorkerConnected{worker(n), provider(n)});
        const auto ask = make_ask(n, salt, price, kind);
        must(ask);
        return struct_hash(ask.ask);
    }
    const marketplace::engine::Job& job(std::uint64_t salt) const {
        return *engine.find_job(fixed<JobId>(salt));
    }
    /// The job's newest lease (of a leg: 0 is the last one made, 1 the one before).
    const marketplace::domain::Lease& lease(std::uint64_t salt, std::size_t back = 0) const {
        const auto& all = job(salt).leases;
        return *engine.find_lease(all.at(all.size() - 1 - back));
    }
    void open(const Hash32& lease) {
        must(marketplace::domain::LeaseOpened{lease, engine.find_lease(lease)->locked_atoms, {}});
    }
    void start(const Hash32& lease) {
        open(lease);
        must(marketplace::domain::LeaseStarted{lease});
    }
    /// The next honest receipt of a lease: `units` more.
    marketplace::domain::SubmitReceipt next_receipt(const Hash32& id, std::uint64_t units) const {
        const auto& lease = *engine.find_lease(id);
        ledger::eth::Receipt receipt;
        receipt.lease = id;
        receipt.sequence = lease.sequence + 1;
        receipt.previous = lease.last_receipt;
        receipt.unit_kind = lease.unit_kind;
        receipt.cumulative_units = lease.units + units;
        receipt.price_atoms = lease.price_atoms;
        receipt.cumulative_amount_atoms =
            ledger::eth::amount_for(lease.unit_kind, receipt.cumulative_units, lease.price_atoms)
                .value_or(0);
        receipt.response_hash = fixed<Hash32>(0xc0ffee00 + receipt.cumulative_units);
        receipt.start_ms = now_ms;
        receipt.end_ms = now_ms + 1;
        return {receipt, {}};
    }
    void work(const Hash32& lease, std::uint64_t units) { must(next_receipt(lease, units)); }
    /// The voucher over all receipts of a lease.
    marketplace::domain::RecordVoucher full_voucher(const Hash32& id) const {
        const auto& lease = *engine.find_lease(id);
        return {{id, lease.sequence, lease.units, lease.amount_atoms, lease.receipts_root}, {}, {}};
    }
    /// A claim of all that vouchers cover, with 1 % fee.
    marketplace::domain::ClaimConfirmed full_claim(const Hash32& id) const {
        const auto& lease = *engine.find_lease(id);
        const std::uint64_t paid = lease.voucher_amount_atoms - lease.claimed_atoms;
        return {id, lease.voucher_sequence, lease.voucher_amount_atoms, paid, paid / 100, {}};
    }
    marketplace::domain::LeaseCloseConfirmed close_of(const Hash32& id) const {
        const auto& lease = *engine.find_lease(id);
        return {id, lease.claimed_atoms, lease.locked_atoms - lease.claimed_atoms, {}};
    }

 private:
    std::uint64_t deposits_ = 0;
};

/// How many events of a kind.
template <typename T>
[[nodiscard]] std::size_t count_of(const Market::Events& events) {
    std::size_t out = 0;
    for (const auto& event : events)
        out += std::holds_alternative<T>(event) ? 1U : 0U;
    return out;
}
/// The first event of a kind.
template <typename T>
[[nodiscard]] const T* find_event(const Market::Events& events) {
    for (const auto& event : events)
        if (const T* found = std::get_if<T>(&event)) return found;
    return nullptr;
}

}  // namespace tests

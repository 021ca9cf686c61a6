// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tests/support/market.hpp"

#include <cstdint>
#include <initializer_list>
#include <random>
#include <string>
#include <vector>

namespace tests {

namespace md = marketplace::domain;

/// Steps in the life of a lease at random, some of them wrong; and the dice for all commands.
class RandomLeaseSteps {
 protected:
    explicit RandomLeaseSteps(std::uint64_t seed) : random_(seed) {}

    [[nodiscard]] std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
    [[nodiscard]] bool one_in(std::uint64_t n) { return below(n) == 0; }
    template <typename T>
    [[nodiscard]] T any_of(const std::vector<T>& list) {
        return list[below(list.size())];
    }
    template <typename T>
    [[nodiscard]] T any_of(std::initializer_list<T> list) {
        return list.begin()[below(list.size())];
    }
    enum Step : int {
        kOpened,
        kOpenFailed,
        kStarted,
        kReceipt,
        kVoucher,
        kFinished,
        kFailed,
        kClaim,
        kCloseRequested,
        kCloseConfirmed,
    };
    [[nodiscard]] md::Command step_of(const md::Lease& lease, std::uint64_t step,
                                      const Hash32& id) {
        switch (step) {
            case kOpened:
                return md::LeaseOpened{id, lease.locked_atoms - (one_in(30) ? 1 : 0), {}};
            case kOpenFailed:
                return md::LeaseOpenFailed{id, "VolumeExceeded"};
            case kStarted:
                return md::LeaseStarted{id};
            case kReceipt:
                return receipt(lease, id);
            case kVoucher:
                return voucher(lease, id);
            case kFinished:
                return md::LeaseFinished{id};
            case kFailed:
                return md::LeaseFailed{
                    id, any_of<std::string>({"worker_failed", "out_of_memory", "data_missing"})};
            case kClaim: {
                std::uint64_t total = lease.voucher_amount_atoms;
                if (one_in(8)) total = lease.amount_atoms;
                if (one_in(30)) total = lease.locked_atoms + 1;
                const std::uint64_t paid =
                    total - std::min(total, lease.claimed_atoms) + (one_in(30) ? 1 : 0);
                return md::ClaimConfirmed{
                    id, lease.voucher_sequence, total, paid, one_in(40) ? paid + 1 : paid / 100,
                    {}};
            }
            case kCloseRequested:
                return md::LeaseCloseRequested{id, {}};
            default:
                return md::LeaseCloseConfirmed{
                    id,
                    lease.claimed_atoms,
                    lease.locked_atoms - lease.claimed_atoms - (one_in(30) ? 1 : 0),
                    {}};
        }
    }
    [[nodiscard]] md::Command receipt(const md::Lease& lease, const Hash32& id) {
        ledger::eth::Receipt r;
        r.lease = id;
        r.sequence = lease.sequence + 1;
        r.previous = lease.last_receipt;
        r.unit_kind = lease.unit_kind;
        const std::uint64_t left = lease.max_units - lease.units;
        r.cumulative_units = lease.units + (one_in(3) ? left : 1 + below(left + 1) / 2);
        r.price_atoms = lease.price_atoms;
        if (one_in(15)) {
            switch (below(8)) {
                case 0:
                    r.sequence = below(lease.sequence + 3);
                    break;
                case 1:
                    r.previous = fixed<Hash32>(3);
                    break;
                case 2:
                    r.unit_kind = UnitKind::kGpuMs;
                    break;
                case 3:
                    r.price_atoms += 1;
                    break;
                case 4:
                    r.cumulative_units = lease.max_units + 1;
                    break;
                case 5:
                    r.cumulative_units = any_of<std::uint64_t>({0, 1ULL << 63U});
                    break;
                case 6:
                    r.start_ms = 2;
                    break;
                default:
                    break;
            }
        }
        r.cumulative_amount_atoms =
            ledger::eth::amount_for(lease.unit_kind, r.cumulative_units, lease.price_atoms)
                .value_or(0) +
            (one_in(60) ? 1 : 0);
        r.response_hash = fixed<Hash32>(++salt_);
        return md::SubmitReceipt{r, {}};
    }
    [[nodiscard]] md::Command voucher(const md::Lease& lease, const Hash32& id) {
        ledger::eth::Voucher v{id, lease.sequence, lease.units, lease.amount_atoms,
                               lease.receipts_root};
        if (one_in(15)) {
            switch (below(5)) {
                case 0:
                    v.sequence = below(lease.sequence + 3);
                    break;
                case 1:
                    v.cumulative_units += 1;
                    break;
                case 2:
                    v.cumulative_amount_atoms += 1;
                    break;
                case 3:
                    v.cumulative_amount_atoms = lease.locked_atoms + 1;
                    break;
                default:
                    v.receipts_root = {};
                    break;
            }
        }
        return md::RecordVoucher{v, {}, {}};
    }

    std::uint64_t salt_ = 0;

 private:
    std::mt19937_64 random_;
};

}  // namespace tests

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "marketplace/domain/lease.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// What a command brought about. Events are in the log beside their command.
namespace marketplace::domain {

/// Why an ask does not fit a bid; tested in this order, the first failure counts.
enum class Mismatch : std::uint8_t {
    kUnitKind = 0,
    kOrderClass,
    kWorkerAway,
    kExcluded,      ///< deny list, own order, or a host that failed this job
    kNotAllowed,    ///< not on the bid's allow list
    kBuyerRefused,  ///< by the ask's own lists
    kGpuModel,
    kGpuCount,
    kVram,
    kInterconnect,
    kRam,
    kCpuCores,
    kDisk,
    kBandwidth,
    kCompute,          ///< measured, in GFLOP/s
    kMemoryBandwidth,  ///< measured, in MB/s
    kRegion,
    kRuntime,
    kNumericClass,
    kVerificationTier,
    kStepTooLarge,
    kGang,  ///< joins smaller gangs only
    kReliability,
    kReclaimWindow,
    kWindow,
    kQuantity,
    kCapacity,  ///< sold out, or its calendar is taken
    kPrice,
    kCount,
};
inline constexpr std::size_t kMismatchCount = static_cast<std::size_t>(Mismatch::kCount);
[[nodiscard]] std::string_view to_string(Mismatch mismatch) noexcept;  ///< "gpu_model", "price", …

/// Answer to "why is there no match": how many asks fail at each test, and how near the nearest
/// of them came.
struct Mismatches {
    std::uint32_t asks = 0;  ///< in the book
    std::array<std::uint32_t, kMismatchCount> failed{};
    /// Best value among the asks that fail at a test, in the test's own unit: the lowest price,
    /// the earliest start, the most memory, units, cores, … 0: none, or not a quantity.
    std::array<std::uint64_t, kMismatchCount> nearest{};
    [[nodiscard]] std::uint64_t& nearest_of(Mismatch m) {
        return nearest[static_cast<std::size_t>(m)];
    }
    [[nodiscard]] std::uint64_t nearest_of(Mismatch m) const {
        return nearest[static_cast<std::size_t>(m)];
    }
    friend bool operator==(const Mismatches&, const Mismatches&) = default;
};
/// "14 asks: 9 with less VRAM (largest 16384 MiB), 5 above the price (cheapest 2.1)". For people.
[[nodiscard]] std::string describe(const Mismatches& reasons);

struct AskAccepted {
    Hash32 ask;
    friend bool operator==(const AskAccepted&, const AskAccepted&) = default;
};
struct AskClosed {
    Hash32 ask;
    std::string reason;  ///< "cancelled", "expired"
    friend bool operator==(const AskClosed&, const AskClosed&) = default;
};
struct JobChanged {
    JobId job;
    JobState state = JobState::kOpen;
    std::uint64_t units_done = 0;
    std::string reason;  ///< code, empty when there is nothing to say
    friend bool operator==(const JobChanged&, const JobChanged&) = default;
};
struct NotMatched {
    JobId job;
    Mismatches reasons;
    friend bool operator==(const NotMatched&, const NotMatched&) = default;
};
/// A match; the lease wants to be opened on chain.
struct Matched {
    Hash32 lease;
    JobId job;
    Hash32 ask_hash;
    Hash32 bid_hash;
    std::uint64_t index = 0;
    std::uint64_t price_atoms = 0;
    std::uint64_t max_units = 0;
    std::uint64_t locked_atoms = 0;
    friend bool operator==(const Matched&, const Matched&) = default;
};
struct LeaseChanged {
    Hash32 lease;
    LeaseState state = LeaseState::kMatched;
    CloseReason reason = CloseReason::kNone;
    friend bool operator==(const LeaseChanged&, const LeaseChanged&) = default;
};
struct ReceiptAccepted {
    Hash32 lease;
    std::uint64_t sequence = 0;
    Hash32 receipt;  ///< struct hash
    Hash32 receipts_root;
    friend bool operator==(const ReceiptAccepted&, const ReceiptAccepted&) = default;
};
struct VoucherAccepted {
    Hash32 lease;
    std::uint64_t sequence = 0;
    std::uint64_t amount_atoms = 0;
    friend bool operator==(const VoucherAccepted&, const VoucherAccepted&) = default;
};
struct Paid {
    Hash32 lease;
    std::uint64_t paid_atoms = 0;
    std::uint64_t fee_atoms = 0;
    friend bool operator==(const Paid&, const Paid&) = default;
};

/// The books of an account after a movement, in atoms.
struct BalanceChanged {
    Address account;
    std::int64_t available_atoms = 0;
    std::int64_t held_atoms = 0;
    std::int64_t earned_atoms = 0;
    friend bool operator==(const BalanceChanged&, const BalanceChanged&) = default;
};
/// An interruptible lease must make room: it is closed (outbid) at `at_ms`; 0: it may stay.
struct LeaseReclaimed {
    Hash32 lease;
    JobId by;  ///< the job that needs the room
    TimeMs at_ms = 0;
    friend bool operator==(const LeaseReclaimed&, const LeaseReclaimed&) = default;
};
/// A sealed batch was cleared: everybody who matched in this group pays the same price.
struct BatchCleared {
    ledger::eth::UnitKind unit_kind = ledger::eth::UnitKind::kTrainingStep;
    std::vector<std::string> gpu_models;  ///< that the group's bids accept; empty: any
    std::uint64_t price_atoms = 0;        ///< 0: nobody matched
    std::uint32_t bids = 0;
    std::uint32_t matched = 0;
    friend bool operator==(const BatchCleared&, const BatchCleared&) = default;
};
/// A worker's asks may match from now on, or not any more.
struct WorkerChanged {
    Address worker;
    Address provider;
    bool connected = false;
    friend bool operator==(const WorkerChanged&, const WorkerChanged&) = default;
};

/// A worker signed two receipts with one sequence. The first is an earlier record, the other is
/// this record's command: together they prove it (contract Disputes). At most one for each lease.
struct ReceiptEquivocated {
    Hash32 lease;
    std::uint64_t sequence = 0;
    Hash32 first;  ///< struct hash of the receipt that counts
    Hash32 other;
    friend bool operator==(const ReceiptEquivocated&, const ReceiptEquivocated&) = default;
};

/// The position in the variant is the event's kind byte: append only.
using Event = std::variant<AskAccepted, AskClosed, JobChanged, NotMatched, Matched, LeaseChanged,
                           ReceiptAccepted, VoucherAccepted, Paid, BalanceChanged, WorkerChanged,
                           LeaseReclaimed, BatchCleared, ReceiptEquivocated>;

[[nodiscard]] std::string_view name_of(const Event& event) noexcept;
void encode(ledger::base::Bytes& out, const Event& event);
[[nodiscard]] ledger::base::Result<Event> decode_event(ledger::base::ByteView bytes);

}  // namespace marketplace::domain

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/codec.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <doctest/doctest.h>

#include <optional>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace marketplace::domain {
namespace {

using ledger::base::ErrorCode;
using ledger::eth::UnitKind;

/// Fills every field a codec visits, with a rising pattern or at random.
class Filler {
 public:
    explicit Filler(std::uint64_t seed) : random_(seed) {}
    template <typename... T>
    void operator()(T&... values) {
        (fill(values), ...);
    }

 private:
    template <typename T>
    void fill(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            value = random_() % 2 == 0;
        } else if constexpr (std::is_enum_v<T>) {
            value = static_cast<T>(random_() % EnumSize<T>::kValue);
        } else if constexpr (std::is_integral_v<T>) {
            value = static_cast<T>(random_());
        } else if constexpr (IsFixedBytes<T>::value) {
            for (std::size_t i = 0; i < T::kSize; ++i)
                value.data()[i] = static_cast<std::uint8_t>(random_());
        } else {
            fields(*this, value);
        }
    }
    void fill(std::string& text) { text.assign(random_() % 20, 'x'); }
    template <typename T>
    void fill(std::vector<T>& list) {
        list.resize(random_() % 4);
        for (T& item : list)
            fill(item);
    }
    template <typename T, std::size_t N>
    void fill(std::array<T, N>& list) {
        for (T& item : list)
            fill(item);
    }
    template <typename T>
    void fill(std::optional<T>& value) {
        if (random_() % 2 == 0) fill(value.emplace());
    }
    std::mt19937_64 random_;
};

PostJob sample_job(std::uint64_t seed) {
    Filler filler(seed);
    PostJob job;
    filler(job.id, job.terms, job.legs, job.delegation, job.delegation_signature);
    return job;
}

std::vector<Command> sample_commands(std::uint64_t seed) {
    Filler fill(seed);
    PostAsk ask;
    fill(ask.ask, ask.signature, ask.resource);
    SubmitReceipt receipt;
    fill(receipt.receipt, receipt.signature);
    RecordVoucher voucher;
    fill(voucher.voucher, voucher.buyer_signature, voucher.worker_signature);
    ClaimConfirmed claim;
    fill(claim.lease, claim.sequence, claim.cumulative_amount_atoms, claim.paid_atoms,
         claim.fee_atoms, claim.transaction);
    EscrowDeposited deposit;
    fill(deposit.account, deposit.amount_atoms, deposit.transaction, deposit.log_index);
    LeaseFailed failed;
    fill(failed.lease, failed.code);
    AmendAsk amended_ask;
    fill(amended_ask.old_ask, amended_ask.replacement.ask, amended_ask.replacement.signature,
         amended_ask.replacement.resource);
    AmendJob amended_job{{}, sample_job(seed + 2)};
    fill(amended_job.old_job);
    return {ask,
            sample_job(seed + 1),
            CancelAsk{},
            CancelJob{},
            WorkerConnected{},
            WorkerLost{},
            deposit,
            EscrowWithdrawn{},
            LeaseOpened{},
            LeaseOpenFailed{{}, "BondTooLow"},
            claim,
            LeaseCloseConfirmed{},
            LeaseStarted{},
            receipt,
            voucher,
            LeaseFinished{},
            failed,
            Tick{},
            LeaseCloseRequested{},
            amended_ask,
            amended_job};
}

std::vector<Event> sample_events(std::uint64_t seed) {
    Filler fill(seed);
    NotMatched reasons;
    fill(reasons.job, reasons.reasons);
    Matched matched;
    fill(matched.lease, matched.job, matched.ask_hash, matched.bid_hash, matched.index,
         matched.price_atoms, matched.max_units, matched.locked_atoms);
    BalanceChanged balance{{}, -5, 7, 9};
    LeaseReclaimed reclaimed;
    fill(reclaimed.lease, reclaimed.by, reclaimed.at_ms);
    BatchCleared cleared;
    fill(cleared.unit_kind, cleared.gpu_models, cleared.price_atoms, cleared.bids, cleared.matched);
    return {AskAccepted{},
            AskClosed{{}, "expired"},
            JobChanged{{}, JobState::kRunning, 7, "code"},
            reasons,
            matched,
            LeaseChanged{{}, LeaseState::kClosing, CloseReason::kOutbid},
            ReceiptAccepted{},
            VoucherAccepted{},
            Paid{},
            balance,
            WorkerChanged{{}, {}, true},
            reclaimed,
            cleared,
            ReceiptEquivocated{{}, 5, {}, {}}};
}

template <typename T>
Bytes bytes_of(const T& value) {
    Bytes out;
    encode(out, value);
    return out;
}

/// A part of a command, alone.
template <typename T>
Bytes raw_bytes_of(const T& value) {
    Bytes out;
    Writer writer(out);
    writer(value);
    return out;
}
template <typename T>
std::optional<T> raw_decoded(const Bytes& bytes) {
    T value;
    Reader reader(bytes);
    reader(value);
    return reader.complete() ? std::optional<T>(value) : std::nullopt;
}

/// Every field differs from its usual value and from its neighbours.
Resource full_resource() {
    Resource out;
    out.gpu_model = "h100";
    out.gpu_count = 2;
    out.vram_mib = 3;
    out.ram_mib = 4;
    out.cpu_cores = 5;
    out.region = "eu";
    out.runtime = "t2";
    out.max_flops_per_step = 6;
    out.worker.data()[19] = 7;
    out.disk_mib = 8;
    out.bandwidth_mbps = 9;
    out.interconnect = "pcie";
    out.numeric_classes = 10;
    out.verification_tier = 11;
    out.max_gang = 12;
    out.buyers.resize(1);
    out.buyers[0].data()[19] = 13;
    out.exclude_buyers.resize(1);
    out.exclude_buyers[0].data()[19] = 14;
    out.gflop_per_s = 15;
    out.memory_mb_per_s = 16;
    return out;
}
Constraints full_constraints() {
    Constraints out;
    out.gpu_models = {"h100"};
    out.min_gpu_count = 2;
    out.min_vram_mib = 3;
    out.regions = {"eu"};
    out.runtimes = {"t2"};
    out.providers.resize(1);
    out.providers[0].data()[19] = 4;
    out.exclude_providers.resize(1);
    out.exclude_providers[0].data()[19] = 5;
    out.min_ram_mib = 6;
    out.min_disk_mib = 7;
    out.min_cpu_cores = 8;
    out.min_bandwidth_mbps = 9;
    out.min_reliability_bp = 10;
    out.min_reclaim_window_s = 11;
    out.interconnects = {"pcie"};
    out.numeric_class = NumericClass::kD3;
    out.gang = 12;
    out.min_slice_units = 13;
    out.max_duration_s = 14;
    out.clearing = Clearing::kBatch;
    out.ramp_from_atoms = 15;
    out.ramp_start_s = 16;
    out.ramp_end_s = 17;
    out.min_gflop_per_s = 18;
    out.min_memory_mb_per_s = 19;
    return out;
}

}  // namespace

TEST_CASE("codec: refuses empty bytes and unknown kinds") {
    CHECK(decode_command({}).error().code() == ErrorCode::invalid_encoding);
    CHECK(decode_event({}).error().code() == ErrorCode::invalid_encoding);
    const Bytes unknown = {std::variant_size_v<Command>};
    CHECK(decode_command(unknown).error().code() == ErrorCode::invalid_encoding);
    const Bytes unknown_event = {std::variant_size_v<Event>};
    CHECK(decode_event(unknown_event).error().code() == ErrorCode::invalid_encoding);
}

TEST_CASE("codec: refuses every truncation and a trailing byte") {
    const auto refuses = [](Bytes bytes, auto decode) {
        for (std::size_t size = 0; size < bytes.size(); ++size)
            CHECK_FALSE(decode(ledger::base::ByteView(bytes).first(size)));
        bytes.push_back(0);
        CHECK_FALSE(decode(bytes));
    };
    for (const Command& command : sample_commands(1))
        refuses(bytes_of(command), decode_command);
    for (const Event& event : sample_events(1))
        refuses(bytes_of(event), decode_event);
}

TEST_CASE("codec: refuses enum values, booleans and counts that cannot be") {
    Bytes changed = bytes_of(Event(LeaseChanged{}));
    changed[33] = 6;  // one past the last lease state
    CHECK_FALSE(decode_event(changed));
    Bytes worker = bytes_of(Event(WorkerChanged{}));
    worker.back() = 2;
    CHECK_FALSE(decode_event(worker));
    // A list that claims four thousand million elements: refused before any memory is taken.
    PostJob job;
    Bytes bytes = bytes_of(Command(job));
    const std::size_t legs_at = 1 + 16 + 1 + 3 * 8;
    for (std::size_t i = 0; i < 4; ++i)
        bytes[legs_at + i] = 0xff;
    CHECK_FALSE(decode_command(bytes));
}

TEST_CASE("codec: refuses numeric classes, clearings and unit kinds that cannot be") {
    // Counted from the end: gang, slice, duration, clearing, three numbers of the ramp, two speeds.
    const std::size_t clearing_from_end = 1 + 3 * 8 + 2 * 4;
    const std::size_t class_from_end = clearing_from_end + 8 + 8 + 2 + 1;
    for (const auto& [from_end, count] : {std::pair{clearing_from_end, kClearingCount},
                                          std::pair{class_from_end, kNumericClassCount}}) {
        Bytes bytes = raw_bytes_of(Constraints{});
        std::uint8_t& value = bytes[bytes.size() - from_end];
        value = static_cast<std::uint8_t>(count - 1);
        CHECK(raw_decoded<Constraints>(bytes));
        value = count;
        CHECK_FALSE(raw_decoded<Constraints>(bytes));
    }
    Bytes cleared = bytes_of(Event(BatchCleared{}));
    cleared[1] = ledger::eth::kUnitKindCount;
    CHECK_FALSE(decode_event(cleared));
}

TEST_CASE("codec: refuses lists and texts that claim more than there is") {
    const auto refused = [](const auto& value, std::size_t count_from_end) {
        Bytes bytes = raw_bytes_of(value);
        bytes[bytes.size() - count_from_end] = 0xff;
        return !raw_decoded<std::remove_cvref_t<decltype(value)>>(bytes);
    };
    CHECK(refused(Resource{}, 8 + 4));                                 // exclude_buyers
    CHECK(refused(Resource{}, 8 + 8));                                 // buyers
    CHECK(refused(Resource{}, 8 + 8 + 2 + 1 + 1 + 4));                 // interconnect
    CHECK(refused(Constraints{}, 8 + 3 * 8 + 1 + 2 * 8 + 2 + 1 + 4));  // interconnects
    Bytes cleared = bytes_of(Event(BatchCleared{}));
    cleared[2] = 0xff;  // gpu_models
    CHECK_FALSE(decode_event(cleared));
}

TEST_CASE("codec: every field of a resource and of constraints has its own bytes") {
    const Resource resource = full_resource();
    const Constraints constraints = full_constraints();
    CHECK(*raw_decoded<Resource>(raw_bytes_of(resource)) == resource);
    CHECK(*raw_decoded<Constraints>(raw_bytes_of(constraints)) == constraints);
    // Leaving out any one of them gives other bytes, which decode to exactly that.
    const auto each_left_out = [](const auto& full, auto... members) {
        using Value = std::remove_cvref_t<decltype(full)>;
        const auto without = [&](auto member) {
            Value value = full;
            value.*member = Value{}.*member;
            REQUIRE(value != full);
            const Bytes bytes = raw_bytes_of(value);
            CHECK(bytes != raw_bytes_of(full));
            CHECK(*raw_decoded<Value>(bytes) == value);
        };
        (without(members), ...);
    };
    using R = Resource;
    each_left_out(resource, &R::disk_mib, &R::bandwidth_mbps, &R::interconnect, &R::numeric_classes,
                  &R::verification_tier, &R::max_gang, &R::buyers, &R::exclude_buyers,
                  &R::gflop_per_s, &R::memory_mb_per_s);
    using C = Constraints;
    each_left_out(constraints, &C::min_ram_mib, &C::min_disk_mib, &C::min_cpu_cores,
                  &C::min_bandwidth_mbps, &C::min_reliability_bp, &C::min_reclaim_window_s,
                  &C::interconnects, &C::numeric_class, &C::gang, &C::min_slice_units,
                  &C::max_duration_s, &C::clearing, &C::ramp_from_atoms, &C::ramp_start_s,
                  &C::ramp_end_s, &C::min_gflop_per_s, &C::min_memory_mb_per_s);
}

TEST_CASE("codec: every count and every nearest value of the mismatches has its own bytes") {
    for (std::size_t i = 0; i < kMismatchCount; ++i) {
        CAPTURE(i);
        NotMatched event;
        event.reasons.failed[i] = 7;
        CHECK(*decode_event(bytes_of(Event(event))) == Event(event));
        NotMatched near;
        near.reasons.nearest[i] = std::uint64_t{1} << 63U;
        CHECK(*decode_event(bytes_of(Event(near))) == Event(near));
        CHECK(bytes_of(Event(near)) != bytes_of(Event(event)));
    }
}

TEST_CASE("codec: what was encoded is decoded, in one form only") {
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
        CAPTURE(seed);
        std::size_t kind = 0;
        for (const Command& command : sample_commands(seed)) {
            REQUIRE(command.index() == kind++);
            const Bytes bytes = bytes_of(command);
            const auto decoded = decode_command(bytes);
            REQUIRE(decoded);
            CHECK(*decoded == command);
            CHECK(bytes_of(*decoded) == bytes);
        }
        REQUIRE(kind == std::variant_size_v<Command>);
        kind = 0;
        for (const Event& event : sample_events(seed)) {
            REQUIRE(event.index() == kind++);
            const Bytes bytes = bytes_of(event);
            const auto decoded = decode_event(bytes);
            REQUIRE(decoded);
            CHECK(*decoded == event);
        }
        REQUIRE(kind == std::variant_size_v<Event>);
    }
}

TEST_CASE("codec: one changed byte is refused or gives other bytes, never a crash") {
    std::mt19937_64 random(7);
    for (const Command& command : sample_commands(3)) {
        const Bytes bytes = bytes_of(command);
        for (int round = 0; round < 300; ++round) {
            Bytes broken = bytes;
            broken[random() % broken.size()] ^= static_cast<std::uint8_t>(1 + random() % 255);
            const auto decoded = decode_command(broken);
            if (decoded) CHECK(bytes_of(*decoded) == broken);
        }
    }
}

TEST_CASE("codec: golden bytes") {
    CHECK(ledger::base::to_hex(bytes_of(Command(Tick{}))) == "0x11");
    JobChanged changed{{}, JobState::kFailed, 258, "no"};
    CHECK(ledger::base::to_hex(bytes_of(Event(changed))) ==
          "0x02000000000000000000000000000000000502010000000000000200000"
          "06e6f");
    Hash32 lease;
    lease.data()[31] = 0xab;
    CHECK(ledger::base::to_hex(bytes_of(Command(LeaseFailed{lease, "x"}))) ==
          "0x1000000000000000000000000000000000000000000000000000000000000000ab0100000078");
    JobId job;
    job.data()[15] = 0xcd;
    CHECK(ledger::base::to_hex(bytes_of(Event(LeaseReclaimed{lease, job, 258}))) ==
          "0x0b00000000000000000000000000000000000000000000000000000000000000ab"
          "000000000000000000000000000000cd0201000000000000");
    CHECK(ledger::base::to_hex(
              bytes_of(Event(BatchCleared{UnitKind::kInputToken, {"a"}, 2, 3, 4}))) ==
          "0x0c0101000000010000006102000000000000000300000004000000");
    // An amendment is the old order's name, then the body of the command that posts the new one.
    const Bytes posted = bytes_of(Command(sample_job(9)));
    Bytes amended = {20};
    ledger::base::append(amended, {job.data(), JobId::kSize});
    ledger::base::append(amended, ledger::base::ByteView(posted).subspan(1));
    CHECK(bytes_of(Command(AmendJob{job, sample_job(9)})) == amended);
}

TEST_CASE("codec: golden bytes of a resource and of constraints with every field set") {
    const std::string zeros(38, '0');  // of an address that ends in one byte
    const std::string resource =
        "0x0400000068313030020000000300000000000000040000000000000005000000020000006575"
        "0200000074320600000000000000" +
        zeros + "07" + "08000000000000000900000004000000706369650a0b0c0001000000" + zeros +
        "0d01000000" + zeros + "0e" + "0f00000010000000";
    CHECK(ledger::base::to_hex(raw_bytes_of(full_resource())) == resource);
    const std::string constraints =
        "0x010000000400000068313030020000000300000000000000010000000200000065750100000002"
        "000000743201000000" +
        zeros + "0401000000" + zeros + "05" +
        "060000000000000007000000000000000800000009000000"
        "0a0000000b000000010000000400000070636965"
        "040c000d000000000000000e00000000000000010f0000000000000010000000000000001100000000000000"
        "1200000013000000";
    CHECK(ledger::base::to_hex(raw_bytes_of(full_constraints())) == constraints);
}

}  // namespace marketplace::domain

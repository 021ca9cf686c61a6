// SPDX-License-Identifier: Apache-2.0
#include "marketplace/domain/codec.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"

#include <doctest/doctest.h>

#include <random>
#include <variant>
#include <vector>

namespace marketplace::domain {
namespace {

using ledger::base::ErrorCode;

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
            LeaseCloseRequested{}};
}

std::vector<Event> sample_events(std::uint64_t seed) {
    Filler fill(seed);
    NotMatched reasons;
    fill(reasons.job, reasons.reasons);
    Matched matched;
    fill(matched.lease, matched.job, matched.ask_hash, matched.bid_hash, matched.index,
         matched.price_atoms, matched.max_units, matched.locked_atoms);
    BalanceChanged balance{{}, -5, 7, 9};
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
            WorkerChanged{{}, {}, true}};
}

template <typename T>
Bytes bytes_of(const T& value) {
    Bytes out;
    encode(out, value);
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
    for (const Command& command : sample_commands(1)) {
        Bytes bytes = bytes_of(command);
        for (std::size_t size = 0; size < bytes.size(); ++size)
            CHECK_FALSE(decode_command(ledger::base::ByteView(bytes).first(size)));
        bytes.push_back(0);
        CHECK_FALSE(decode_command(bytes));
    }
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
}

}  // namespace marketplace::domain

// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ledger/audit/audit_fixture.hpp"

#include <functional>
#include <set>

using namespace tests;  // NOLINT: test file

namespace {

// Records: 0 ask, 1 bid, 2 ask, 3 bid, 4…9 receipts of the first lease, 10 its voucher, 11…14 and
// 15 the rest of it, 16…19 and 20 the second lease.
struct Case {
    FindingCode code;
    std::function<void(Market&)> harm;
    bool only = true;  ///< nothing else is found
};

constexpr const char* kOpened =
    "LeaseOpened(bytes32,address,address,bytes32,bytes32,address,address,uint256)";
constexpr const char* kClaimed = "Claimed(bytes32,bytes32,uint256)";
// The last bytes of what is packed in the word of terms, and in the word of totals.
constexpr std::size_t kTerms = 4 * 32;
constexpr std::size_t kPrice = kTerms + 12;
constexpr std::size_t kMaxUnits = kTerms + 18;
constexpr std::size_t kFeeBps = kTerms + 31;
constexpr std::size_t kAmountTop = 32 + 14;
constexpr std::size_t kPaid = 32 + 25;
constexpr std::size_t kFeeTop = 32 + 26;
constexpr std::size_t kFee = 32 + 31;

/// Signs a changed receipt again, so that only what it says is wrong.
template <typename Change>
std::function<void(Market&)> receipt(std::size_t record, Change change) {
    return [record, change](Market& market) {
        auto& item = market.item<SignedReceipt>(record);
        change(item.receipt);
        item.signature = market.chain.worker.sign(
            ledger::eth::typed_digest(market.chain.separator, struct_hash(item.receipt)));
    };
}

const std::vector<Case>& cases() {
    static const std::vector<Case> all{
        {FindingCode::record_invalid, [](Market& m) { m.log[7].defect = "broken"; }},
        {FindingCode::root_mismatch, [](Market& m) { m.log[7].bytes[3] ^= 1; }},
        {FindingCode::log_too_short, [](Market& m) { m.log.pop_back(); }},
        {FindingCode::anchor_order,
         [](Market& m) {
             std::swap(m.event("Anchored(uint64,bytes32,uint64)").topics[1],
                       m.event("Anchored(uint64,bytes32,uint64)", 1).topics[1]);
         },
         false},
        {FindingCode::order_missing, [](Market& m) { m.log[1].items.clear(); }},
        {FindingCode::order_signature,
         [](Market& m) { m.item<PostedAsk>(0).signature.data()[9] ^= 1; }},
        {FindingCode::price_outside_limits, [](Market& m) { m.event(kOpened).data[kPrice] += 1; },
         false},
        {FindingCode::terms_outside_limits,
         [](Market& m) { m.event(kOpened).data[kMaxUnits] += 1; }, false},
        {FindingCode::order_cancelled,
         [](Market& m) {
             m.chain.cancel(m.leases[1].opened.bid_hash, m.chain.buyer.address());
             auto cancelled = m.chain.events.back();
             m.chain.events.pop_back();
             m.chain.events.insert(m.chain.events.begin() + 4, cancelled);
         }},
        {FindingCode::receipt_without_lease, receipt(19, [](auto& r) { r.lease = Hash32(); }),
         false},
        {FindingCode::receipt_signature,
         [](Market& m) { m.item<SignedReceipt>(5).signature.data()[3] ^= 1; }},
        {FindingCode::receipt_signature,
         [](Market& m) { m.item<SignedReceipt>(5).signature.data()[64] ^= 6; }},
        {FindingCode::receipt_chain, receipt(5, [](auto& r) { r.end_ms = 0, r.start_ms = 1; }),
         false},
        {FindingCode::receipt_chain, receipt(5, [](auto& r) { r.sequence = 7; }), false},
        {FindingCode::receipt_equivocation,
         [](Market& m) { m.log[9].items.push_back(m.log[9].items[0]); }, false},
        {FindingCode::receipt_amount, receipt(5, [](auto& r) { ++r.cumulative_amount_atoms; }),
         false},
        {FindingCode::receipt_terms, receipt(5, [](auto& r) { ++r.price_atoms; }), false},
        {FindingCode::receipt_above_lock,
         receipt(5, [](auto& r) { r.cumulative_amount_atoms = 20'001; }), false},
        {FindingCode::voucher_signature,
         [](Market& m) { m.item<SignedVoucher>(10).buyer_signature.data()[3] ^= 1; }},
        {FindingCode::voucher_signature,
         [](Market& m) { m.item<SignedVoucher>(10).worker_signature.data()[3] ^= 1; }},
        {FindingCode::voucher_mismatch,
         [](Market& m) { m.item<SignedVoucher>(10).voucher.receipts_root = Hash32(); }, false},
        {FindingCode::voucher_mismatch,
         [](Market& m) { m.item<SignedVoucher>(10).voucher.sequence = 60; }, false},
        {FindingCode::voucher_mismatch,  // two vouchers of one sequence
         [](Market& m) {
             auto other = m.item<SignedVoucher>(10);
             ++other.voucher.cumulative_units;
             m.log[10].items.push_back(other);
         },
         false},
        {FindingCode::claim_without_receipts,
         [](Market& m) {
             for (std::size_t i = 16; i <= 20; ++i)
                 m.log[i].items.clear();
         }},
        {FindingCode::claim_mismatch, [](Market& m) { m.event(kClaimed).data[0] ^= 1; }},
        {FindingCode::claim_amount, [](Market& m) { m.event(kClaimed).data[kPaid] += 1; }, false},
        {FindingCode::claim_above_lock,
         [](Market& m) { m.event(kClaimed, 1).data[kAmountTop] = 1; }, false},
        {FindingCode::fee_mismatch, [](Market& m) { m.event(kClaimed).data[kFee] += 1; }, false},
        {FindingCode::fee_mismatch, [](Market& m) { m.event(kClaimed).data[kFeeTop] = 1; }, false},
        {FindingCode::fee_mismatch, [](Market& m) { m.event(kOpened).data[kFeeBps] += 1; }},
        {FindingCode::close_mismatch,
         [](Market& m) { add(m.event("LeaseClosed(bytes32,uint64,uint64,uint8)").data, 1, 1); },
         false},
        {FindingCode::credit_mismatch,
         [](Market& m) { add(m.event("Credited(address,uint64)").data, 0, 1); }},
        {FindingCode::lock_mismatch,
         [](Market& m) { add(m.event("Locked(address,uint64)").data, 0, 1); }},
        {FindingCode::transfer_unexplained,
         [](Market& m) { m.chain.next(), m.chain.transfer(m.idle, m.chain.deployment.escrow, 5); }},
        {FindingCode::liabilities_mismatch, [](Market& m) { m.chain.liabilities -= 1; }},
        {FindingCode::insolvent, [](Market& m) { m.chain.held -= 1; }},
    };
    return all;
}

}  // namespace

TEST_CASE("audit: a market that is right has no findings") {
    Market market;
    const AuditReport report = market.audited();
    CHECK_MESSAGE(report.ok(), to_text(report));
    CHECK(report.receipts_checked == 14);
    CHECK(report.vouchers_checked == 3);
    CHECK(report.claims_checked == 3);
    CHECK(report.heads_checked == 2);
    CHECK(report.asks_checked == 2);
    CHECK(report.paid_atoms == 12'800);
    CHECK(report.fee_atoms == 128);
}

TEST_CASE("audit: every kind of finding is made by what it is about") {
    std::set<FindingCode> met;
    for (const Case& one : cases()) {
        Market market;
        one.harm(market);
        const auto codes = market.found();
        CAPTURE(to_string(one.code));
        CHECK(codes.contains(one.code));
        if (one.only) CHECK(codes.size() == 1);
        met.insert(one.code);
    }
    Market market;
    market.chain.accounts[market.idle].free_atoms += 1;
    CHECK(market.found({.account = market.idle}) ==
          std::set<FindingCode>{FindingCode::balance_mismatch});
    met.insert(FindingCode::balance_mismatch);
    const std::set<FindingCode> all{
#define MILLRACE_FINDING_VALUE(name, text) FindingCode::name,
        MILLRACE_AUDIT_FINDINGS(MILLRACE_FINDING_VALUE)
#undef MILLRACE_FINDING_VALUE
    };
    CHECK(met == all);
}

namespace {

/// A third lease of three receipts and no voucher, and what its worker claims alone.
struct LoneMarket : Market {
    LoneMarket() { open(500, 10); }
    FakeMarket::Lease& lease() { return leases[2]; }
    void work_alone() {
        for (const SignedReceipt& receipt : chain.work(lease(), 3))
            append(receipt);
    }
    /// Paid `hours` after the claim, which is payable after two.
    void pay_alone(std::uint64_t hours) {
        const std::uint64_t now_s =
            chain.block(ledger::rpc::BlockTag::number(chain.newest() + 1))->time_s;
        chain.claim_alone(lease(), now_s + 2 * 3600);
        for (std::uint64_t i = 1; i < hours; ++i)
            chain.next();
        chain.claim(lease(), struct_hash(lease().last));
    }
    void end() { chain.anchor(tree.size(), tree.root()); }
};

}  // namespace

TEST_CASE("audit: a worker paid by its receipt alone is explained, with or without it in the log") {
    for (const bool handed_in : {true, false}) {
        LoneMarket market;
        if (handed_in)
            market.work_alone();
        else
            (void)market.chain.work(market.lease(), 3);
        market.pay_alone(2);
        market.end();
        const AuditReport report = market.audited();
        CHECK_MESSAGE(report.ok(), to_text(report));
        CHECK(report.claims_checked == 4);
        CHECK(report.lone_claims == 1);
        CHECK(report.paid_atoms == 12'800 + 1'500);
    }
}

TEST_CASE("audit: a payment that neither a voucher nor a lone claim explains is found") {
    using Codes = std::set<FindingCode>;
    LoneMarket objected;
    objected.work_alone();
    objected.chain.claim_alone(objected.lease(), 0);
    objected.chain.object(objected.lease());
    objected.chain.claim(objected.lease(), struct_hash(objected.lease().last));
    objected.end();
    CHECK(objected.found() == Codes{FindingCode::claim_mismatch});

    LoneMarket early;
    early.work_alone();
    early.pay_alone(1);
    early.end();
    CHECK(early.found() == Codes{FindingCode::claim_mismatch});

    LoneMarket other_totals;
    other_totals.work_alone();
    other_totals.pay_alone(2);
    other_totals.end();
    add(other_totals.event("ClaimedAlone(bytes32,bytes32,uint64,uint64,uint64)").data, 2, -1);
    CHECK(other_totals.found() == Codes{FindingCode::claim_mismatch});

    // Paid by a receipt that is not the one of this sequence in the log.
    LoneMarket twice;
    twice.work_alone();
    twice.lease().last.response_hash = Hash32();
    twice.lease().last.end_ms += 1;
    twice.pay_alone(2);
    twice.end();
    CHECK(twice.found() == Codes{FindingCode::claim_mismatch});
}

TEST_CASE("audit: one flipped bit in any field of a signed message is found") {
    const auto with = [](std::size_t record, auto&& change) {
        Market market;
        std::visit(change, market.log[record].items[0]);
        return !market.audited().ok();
    };
    const auto receipt_with = [&](auto&& change) {
        return with(5, [&](auto& item) {
            if constexpr (std::is_same_v<std::decay_t<decltype(item)>, SignedReceipt>)
                change(item.receipt);
        });
    };
    using R = ledger::eth::Receipt;
    for (auto field : {&R::sequence, &R::cumulative_units, &R::price_atoms,
                       &R::cumulative_amount_atoms, &R::start_ms, &R::end_ms})
        CHECK(receipt_with([&](R& r) { r.*field ^= 1; }));
    for (auto field :
         {&R::lease, &R::previous, &R::model_hash, &R::request_hash, &R::response_hash})
        CHECK(receipt_with([&](R& r) { (r.*field).data()[7] ^= 4; }));
    CHECK(receipt_with([](R& r) { r.unit_kind = ledger::eth::UnitKind::kGpuMs; }));
    for (std::size_t bit = 0; bit < 65 * 8; ++bit) {
        Market market;
        market.item<SignedReceipt>(5).signature.data()[bit / 8] ^=
            static_cast<std::uint8_t>(1U << bit % 8);
        CAPTURE(bit);
        CHECK(market.found() == std::set<FindingCode>{FindingCode::receipt_signature});
    }
}

TEST_CASE("audit: thousands of findings are counted, a thousand kept") {
    Market market;
    for (std::size_t i = 0; i < 3000; ++i) {
        LogRecord record = market.log[7];
        record.items.clear();
        record.defect = "broken";
        market.log.push_back(record);
    }
    const AuditReport report = market.audited();
    CHECK(report.findings_total == 3000);
    CHECK(report.findings.size() == 1000);
}

TEST_CASE("audit: what cannot be judged is an error, not a verdict") {
    Market market;
    market.chain.deployment.chain_id = 31337;
    CHECK(market.audit({.to_block = 999}).error().code() == ErrorCode::out_of_range);
    CHECK(market.audit({.from_block = 9, .to_block = 8}).error().code() == ErrorCode::out_of_range);
    CHECK(market.audit({.from_block = 0}).error().code() == ErrorCode::out_of_range);
    CHECK(market.audit({.lease = Hash32()}).error().code() == ErrorCode::not_found);
    CHECK(market.audit({.account = Address()}).error().code() == ErrorCode::not_found);
}

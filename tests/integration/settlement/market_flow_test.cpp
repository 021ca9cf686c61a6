// SPDX-License-Identifier: Apache-2.0
#include "tests/integration/settlement/market_flow.hpp"

#include "ledger/audit/audit.hpp"

using namespace tests;  // NOLINT: test file
using ledger::audit::FindingCode;

namespace {

bool has(const ledger::audit::AuditReport& report, FindingCode code) {
    for (const auto& finding : report.findings)
        if (finding.code == code) return true;
    return false;
}

template <typename Event>
const Event* find_event(const WatchBatch& batch) {
    for (const ChainEvent& event : batch.events)
        if (const auto* leases = std::get_if<LeasesEvent>(&event.event))
            if (const auto* wanted = std::get_if<Event>(leases)) return wanted;
    return nullptr;
}

ledger::audit::AuditReport audited(MarketFlow& flow, std::vector<ledger::audit::LogRecord> log) {
    MemoryLog source(std::move(log));
    auto report = ledger::audit::audit(*flow.chain, source, flow.deployment);
    REQUIRE_MESSAGE(report, report.error().message());
    return std::move(*report);
}

}  // namespace

TEST_CASE("settlement: refusals of the contracts come back in words") {
    auto flow = MarketFlow::start();
    if (!flow) return;
    flow->set_up(10'000'000, 1'000'000);
    LocalTransactionSigner signer(flow->buyer);

    const auto too_much = send_and_wait(*flow->chain, signer, flow->deployment.escrow,
                                        encode_request_withdraw(2'000'000), 10'000);
    REQUIRE(!too_much);
    CHECK(too_much.error().code() == ledger::base::ErrorCode::chain_refused);
    CHECK(explain_revert(too_much.error()) == "InsufficientFree(1000000, 2000000)");

    // An item of a batch fails alone, with its reason in an event.
    OpenItem broke = flow->make_item(1, 1000);  // locks 1,200,000 of 1,000,000
    OpenItem dear = flow->make_item(2, 10);
    dear.price_atoms = 1501;
    OpenItem forged = flow->make_item(3, 10);
    forged.bid_signature[5] ^= 1;
    const OpenItem good = flow->make_item(4, 10);
    const auto receipt = flow->send(flow->market_operator, flow->deployment.leases,
                                    encode_open({broke, dear, forged, good}));
    std::vector<std::string> reasons;
    std::size_t opened = 0;
    for (const auto& entry : receipt.logs) {
        const auto event = decode_leases_event(entry);
        REQUIRE(event);
        if (!*event) continue;
        if (const auto* failed = std::get_if<ItemFailed>(&**event))
            reasons.push_back(explain_revert(failed->reason));
        if (std::holds_alternative<LeaseOpened>(**event)) ++opened;
    }
    REQUIRE(reasons.size() == 3);
    CHECK(reasons[0] == "InsufficientFree(1000000, 1200000)");
    CHECK(reasons[1] == "PriceOutsideLimits(1501, 1000, 1500)");
    CHECK(reasons[2].starts_with("BadSignature("));
    CHECK(opened == 1);
    const auto key = lease_id({struct_hash(good.ask), struct_hash(good.bid), good.index});
    const auto lease = read_lease(*flow->chain, flow->deployment.leases, key, flow->parties(),
                                  BlockTag::Name::kLatest);
    REQUIRE(lease);
    CHECK(lease->state == LeaseState::kOpen);
    CHECK(lease->locked_atoms == 12'000);
}

TEST_CASE("settlement: a lease goes from open to sweep, and the audit explains every token") {
    auto started = MarketFlow::start();
    if (!started) return;
    MarketFlow& flow = *started;
    const Deployment& at = flow.deployment;
    flow.set_up(10'000'000, 100'000'000);
    CHECK(read_is_active(*flow.chain, at.providers, flow.provider.address(), flow.worker.address(),
                         BlockTag::Name::kLatest)
              .value());
    CHECK(read_worker_of(*flow.chain, at.providers, flow.worker.address(), BlockTag::Name::kLatest)
              .value() == flow.provider.address());
    CHECK(read_bond_of(*flow.chain, at.providers, flow.provider.address(), BlockTag::Name::kLatest)
              .value() == 10'000'000);

    const OpenItem item = flow.make_item(1, 1000);
    const LeaseKey key{struct_hash(item.ask), struct_hash(item.bid), item.index};
    const Hash32 lease = lease_id(key);
    flow.send(flow.market_operator, at.leases, encode_open({item}));
    flow.anchor(flow.market_operator);
    const ClaimItem claim = flow.work(lease, 20, 25);
    flow.send(flow.market_operator, at.leases, encode_claim({claim}));
    flow.anchor(flow.provider);
    flow.send(flow.worker, at.leases,
              encode_request_close({{key, flow.parties(), CloseReason::kCompleted}}));
    flow.send(flow.market_operator, at.escrow, encode_sweep(flow.provider.address()));

    const auto buyer =
        read_escrow_account(*flow.chain, at.escrow, flow.buyer.address(), BlockTag::Name::kLatest);
    REQUIRE(buyer);
    CHECK(buyer->free_atoms == 100'000'000 - 600'000);
    CHECK(buyer->locked_atoms == 0);
    CHECK(
        read_token_balance(*flow.chain, at.token, flow.provider.address(), BlockTag::Name::kLatest)
            .value() == 990'000'000 + 594'000);
    CHECK(read_latest_head(*flow.chain, at.receipt_log, at.block).value().root == flow.tree.root());

    Watcher watcher(*flow.chain, at, {1, 3});
    WatchCursor cursor = watcher.beginning();
    std::size_t events = 0;
    bool claimed_seen = false;
    bool closed_seen = false;
    while (true) {
        const auto batch = watcher.poll(cursor);
        REQUIRE(batch);
        if (batch->cursor == cursor) break;
        events += batch->events.size();
        cursor = batch->cursor;
        if (const auto* opened = find_event<LeaseOpened>(*batch)) {
            CHECK(opened->lease == lease);
            CHECK(opened->parties() == flow.parties());
            CHECK(opened->locked_atoms == 1'200'000);
            CHECK(opened->max_units == 1000);
            CHECK(opened->price_atoms == 1200);
            CHECK(opened->expiry_s == item.bid.deadline_s);
            CHECK(opened->fee_bps == 100);
        }
        if (const auto* claimed = find_event<Claimed>(*batch)) {
            claimed_seen = true;
            CHECK(claimed->paid_atoms == 600'000);
            CHECK(claimed->fee_atoms == 6'000);
            CHECK(claimed->sequence == 20);
            CHECK(claimed->cumulative_units == 500);
            CHECK(claimed->cumulative_amount_atoms == 600'000);
            CHECK(claimed->receipts_root == claim.voucher.receipts_root);
        }
        if (const auto* closed = find_event<LeaseClosed>(*batch)) {
            closed_seen = true;
            CHECK(closed->paid_atoms == 600'000);
            CHECK(closed->refunded_atoms == 600'000);
            CHECK(closed->reason == 1);
        }
    }
    CHECK(claimed_seen);
    CHECK(closed_seen);
    CHECK(events >= 10);

    const auto report = audited(flow, flow.log);
    CHECK_MESSAGE(report.ok(), ledger::audit::to_text(report));
    CHECK(report.receipts_checked == 20);
    CHECK(report.claims_checked == 1);
    CHECK(report.heads_checked == 2);
    CHECK(report.transfers_explained == 2);
    CHECK(report.paid_atoms == 600'000);
    CHECK(report.liabilities_atoms == 100'000'000 - 594'000);

    // One flipped bit anywhere in the log is found.
    for (const std::size_t record : {std::size_t{0}, std::size_t{5}, flow.log.size() - 1}) {
        auto log = flow.log;
        log[record].bytes[7] ^= 1;
        CHECK(has(audited(flow, log), FindingCode::root_mismatch));
    }
    auto missing = flow.log;
    missing.pop_back();
    CHECK(has(audited(flow, missing), FindingCode::log_too_short));

    const auto with_receipt = [&](auto&& change) {
        auto log = flow.log;
        change(std::get<ledger::audit::SignedReceipt>(log[5].items[0]));
        return audited(flow, log);
    };
    using SignedReceipt = ledger::audit::SignedReceipt;
    CHECK(has(with_receipt([](SignedReceipt& r) { r.signature.data()[3] ^= 1; }),
              FindingCode::receipt_signature));
    CHECK(has(with_receipt([](SignedReceipt& r) { ++r.receipt.cumulative_amount_atoms; }),
              FindingCode::receipt_amount));
    CHECK(has(with_receipt([](SignedReceipt& r) { ++r.receipt.price_atoms; }),
              FindingCode::receipt_terms));
    CHECK(has(with_receipt([](SignedReceipt& r) { --r.receipt.sequence; }),
              FindingCode::receipt_equivocation));
    CHECK(has(with_receipt([](SignedReceipt& r) { r.receipt.previous = Hash32(); }),
              FindingCode::receipt_chain));
    CHECK(has(with_receipt([](SignedReceipt& r) { r.receipt.lease = Hash32(); }),
              FindingCode::receipt_without_lease));
    CHECK(has(with_receipt([](SignedReceipt& r) { r.receipt.end_ms = 7; }),
              FindingCode::claim_mismatch));

    auto no_bid = flow.log;
    no_bid[1].items.clear();
    CHECK(has(audited(flow, no_bid), FindingCode::order_missing));
    auto other_ask = flow.log;
    std::get<ledger::audit::PostedAsk>(other_ask[0].items[0]).signature.data()[9] ^= 1;
    CHECK(has(audited(flow, other_ask), FindingCode::order_signature));
    auto fewer = flow.log;
    for (auto& record : fewer)
        if (std::holds_alternative<SignedReceipt>(record.items[0])) record.items.clear();
    CHECK(has(audited(flow, fewer), FindingCode::claim_without_receipts));
    auto other_voucher = flow.log;
    std::get<ledger::audit::SignedVoucher>(other_voucher.back().items[0]).voucher.receipts_root =
        Hash32();
    const auto voucher_report = audited(flow, other_voucher);
    CHECK(has(voucher_report, FindingCode::voucher_mismatch));
    CHECK(has(voucher_report, FindingCode::voucher_signature));

    // Tokens sent to escrow past its books are not explained by anything.
    flow.send(flow.provider, at.token, encode_transfer(at.escrow, 5));
    CHECK(has(audited(flow, flow.log), FindingCode::transfer_unexplained));
}

TEST_CASE("settlement: claims of the last unit close their leases, and the audit explains them") {
    auto started = MarketFlow::start();
    if (!started) return;
    MarketFlow& flow = *started;
    const Deployment& at = flow.deployment;
    flow.set_up(10'000'000, 100'000'000);
    // Two leases under one ask, the third under another: two groups of a batch.
    const OpenItem first = flow.make_item(1, 1000);
    OpenItem second = first;
    second.index = 1;
    second.max_units = 500;
    const OpenItem third = flow.make_item(2, 100);
    const auto key_of = [](const OpenItem& item) {
        return LeaseKey{struct_hash(item.ask), struct_hash(item.bid), item.index};
    };
    flow.send(flow.market_operator, at.leases, encode_open({first, second, third}));
    std::vector<ClaimItem> claims;
    for (const OpenItem* item : std::initializer_list<const OpenItem*>{&first, &second, &third}) {
        claims.push_back(flow.work(lease_id(key_of(*item)), item->max_units / 50, 50));
        claims.back().key = key_of(*item);
    }
    claims[1].key.reset();  // refused, alone
    flow.send(flow.market_operator, at.leases, encode_claim(claims));
    const auto state_of = [&](const OpenItem& item) {
        return read_lease(*flow.chain, at.leases, lease_id(key_of(item)), flow.parties(),
                          BlockTag::Name::kLatest)
            .value()
            .state;
    };
    CHECK(state_of(first) == LeaseState::kClosed);
    CHECK(state_of(second) == LeaseState::kOpen);
    CHECK(state_of(third) == LeaseState::kClosed);

    // The second is closed by request, and final after the window.
    const auto final_at = [&] {
        return read_final_at(*flow.chain, at.leases, lease_id(key_of(second)),
                             BlockTag::Name::kLatest)
            .value();
    };
    CHECK(final_at() == 0);
    flow.send(flow.market_operator, at.leases,
              encode_request_close({{key_of(second), flow.parties(), CloseReason::kCompleted},
                                    {key_of(first), flow.parties(), CloseReason::kCompleted}}));
    CHECK(state_of(second) == LeaseState::kClosing);
    CHECK(final_at() == flow.now_s() + at.close_window_s);
    claims[1].key = key_of(second);
    flow.send(flow.market_operator, at.leases, encode_claim({claims[1]}));
    CHECK(state_of(second) == LeaseState::kClosed);
    const auto receipt = flow.send(flow.market_operator, at.leases,
                                   encode_finalize_close({{key_of(second), flow.parties()}}));
    REQUIRE(receipt.logs.size() == 1);
    CHECK(explain_revert(std::get<ItemFailed>(**decode_leases_event(receipt.logs[0])).reason)
              .starts_with("LeaseIsClosed("));

    flow.anchor(flow.market_operator);
    const auto report = audited(flow, flow.log);
    CHECK_MESSAGE(report.ok(), ledger::audit::to_text(report));
    CHECK(report.closes_checked == 3);
    CHECK(report.paid_atoms == 1600 * 1200);
    const auto buyer =
        read_escrow_account(*flow.chain, at.escrow, flow.buyer.address(), BlockTag::Name::kLatest);
    REQUIRE(buyer);
    CHECK(buyer->locked_atoms == 0);
    CHECK(buyer->free_atoms == 100'000'000 - 1600 * 1200);
}

TEST_CASE("settlement: a cancelled order opens no lease, and is seen as an event") {
    auto started = MarketFlow::start();
    if (!started) return;
    MarketFlow& flow = *started;
    const Deployment& at = flow.deployment;
    flow.set_up(10'000'000, 100'000'000);
    const OpenItem lease = flow.make_item(1, 10);
    OpenItem same_bid = lease;
    same_bid.index = 1;
    const OpenItem other = flow.make_item(2, 10);
    flow.send(flow.market_operator, at.leases, encode_open({lease}));
    flow.send(flow.provider, at.leases, encode_cancel_ask(other.ask));
    flow.send(flow.buyer, at.leases, encode_cancel_bid(lease.bid));
    LocalTransactionSigner signer(flow.buyer);
    const auto foreign =
        send_and_wait(*flow.chain, signer, at.leases, encode_cancel_ask(lease.ask), 10'000);
    REQUIRE(!foreign);
    CHECK(explain_revert(foreign.error()).starts_with("NotOrderOwner("));

    const auto receipt = flow.send(flow.market_operator, at.leases, encode_open({same_bid, other}));
    std::vector<std::optional<Hash32>> refused;
    for (const auto& entry : receipt.logs)
        if (const auto event = decode_leases_event(entry); event && *event)
            refused.push_back(cancelled_order(std::get<ItemFailed>(**event).reason));
    CHECK(refused ==
          std::vector<std::optional<Hash32>>{struct_hash(lease.bid), struct_hash(other.ask)});

    Watcher watcher(*flow.chain, at, {1, 1'000});
    const auto batch = watcher.poll(watcher.beginning());
    REQUIRE(batch);
    const auto* cancelled = find_event<OrderCancelled>(*batch);
    REQUIRE(cancelled != nullptr);
    CHECK(cancelled->order == struct_hash(other.ask));
    CHECK(cancelled->by == flow.provider.address());
    flow.anchor(flow.market_operator);
    const auto report = audited(flow, flow.log);
    CHECK_MESSAGE(report.ok(), ledger::audit::to_text(report));
}

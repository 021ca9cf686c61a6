// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/statement.hpp"
#include "ledger/base/hex.hpp"
#include "tests/unit/ledger/audit/audit_fixture.hpp"

#include <set>
#include <sstream>

using namespace tests;  // NOLINT: test file

namespace {

std::vector<std::vector<std::string>> rows_of(const std::string& csv) {
    std::vector<std::vector<std::string>> rows;
    std::istringstream lines(csv);
    for (std::string line; std::getline(lines, line);) {
        REQUIRE(line.ends_with('\r'));
        line.pop_back();
        std::istringstream cells(line + ",");
        std::vector<std::string> row;
        for (std::string cell; std::getline(cells, cell, ',');)
            row.push_back(cell);
        rows.push_back(row);
    }
    return rows;
}

}  // namespace

TEST_CASE("selection: one lease has its own figures and its own findings") {
    Market market;
    const Hash32 second = market.leases[1].opened.lease;
    const AuditReport report = market.audited({.lease = second});
    CHECK_MESSAGE(report.ok(), to_text(report));
    CHECK(report.leases_checked == 1);
    CHECK(report.receipts_checked == 4);
    CHECK(report.vouchers_checked == 1);
    CHECK(report.claims_checked == 1);
    CHECK(report.asks_checked == 1);
    CHECK(report.records == market.log.size());
    CHECK(report.heads_checked == 2);
    CHECK(report.locked_atoms == 5'600);
    CHECK(report.paid_atoms == 2'800);
    CHECK(report.fee_atoms == 28);
    CHECK(report.deposited_atoms == 0);
    REQUIRE(report.leases.size() == 1);
    const AuditedLease& lease = report.leases[0];
    CHECK(lease.receipts == 4);
    CHECK(lease.ask_record == 2);
    CHECK(lease.first_receipt_record == 16);
    CHECK(lease.last_receipt_record == 19);
    const std::string story = to_text(report);
    CHECK(story.find(ledger::base::to_hex(second)) != std::string::npos);
    CHECK(story.find("4 receipts (records 16 to 19), 1 vouchers") != std::string::npos);
    CHECK(story.find(ledger::base::to_hex(lease.claims[0].at.transaction)) != std::string::npos);
    CHECK(to_json_text(report).find("\"leases\":[{") != std::string::npos);

    // A fault of the first lease is not the second's; a broken root is everybody's.
    market.item<SignedReceipt>(5).signature.data()[3] ^= 1;
    CHECK(market.found({.lease = second}).empty());
    CHECK(market.found({.lease = market.leases[0].opened.lease}) ==
          std::set<FindingCode>{FindingCode::receipt_signature});
    market.log[0].bytes[2] ^= 1;
    CHECK(market.found({.lease = second}) == std::set<FindingCode>{FindingCode::root_mismatch});
}

TEST_CASE("selection: blocks bound what is reported, and the receipts they paid for") {
    Market market;
    const AuditReport report = market.audited({.from_block = 8, .to_block = 9});
    CHECK(report.claims_checked == 2);
    CHECK(report.leases_checked == 2);
    CHECK(report.receipts_checked == 8);  // 4 of the first lease, 4 of the second
    CHECK(report.paid_atoms == 4'000 + 2'800);
    CHECK(report.deposited_atoms == 0);
    CHECK(report.locked_atoms == 0);
    market.item<SignedReceipt>(5).signature.data()[3] ^= 1;  // paid in block 7
    CHECK(!market.found({.from_block = 8}).contains(FindingCode::receipt_signature));
    CHECK(market.found({.from_block = 7}).contains(FindingCode::receipt_signature));
    add(market.event("Credited(address,uint64)").data, 0, 1);
    CHECK(!market.found({.from_block = 8}).contains(FindingCode::credit_mismatch));
    CHECK(market.found({.from_block = 7}).contains(FindingCode::credit_mismatch));
    const AuditReport quiet = market.audited({.from_block = 15});
    CHECK(quiet.leases_checked == 0);
    CHECK(to_text(quiet).find("no lease was opened") != std::string::npos);
}

TEST_CASE("selection: an account's statement ends at what escrow says it has") {
    Market market;
    const AuditReport buyer = market.audited({.account = market.chain.buyer.address()});
    CHECK_MESSAGE(buyer.ok(), to_text(buyer));
    CHECK(buyer.balances == Balances{84'400, 5'600, 0, 0});
    CHECK(buyer.deposited_atoms == 100'000);
    std::string kinds;
    for (const Movement& movement : buyer.movements)
        kinds += std::string(to_string(movement.kind)) + " ";
    CHECK(kinds == "deposit lock lock claim fee claim fee claim fee refund ");

    const AuditReport provider = market.audited({.account = market.chain.provider.address()});
    CHECK_MESSAGE(provider.ok(), to_text(provider));
    CHECK(provider.balances == Balances{});
    CHECK(provider.swept_atoms == 12'672);
    CHECK(provider.receipts_checked == 14);

    const AuditReport treasury = market.audited({.account = market.chain.deployment.treasury});
    CHECK_MESSAGE(treasury.ok(), to_text(treasury));
    CHECK(treasury.balances == Balances{0, 0, 100, 0});

    const AuditReport idle = market.audited({.account = market.idle});
    CHECK(idle.leases_checked == 0);
    const auto rows = rows_of(to_csv(idle));
    REQUIRE(rows.size() == 6);
    CHECK(rows[0] == std::vector<std::string>{"time", "block", "transaction", "kind", "lease",
                                              "counterparty", "amount", "free", "locked", "earned",
                                              "withdrawing"});
    CHECK(rows[1][0] == "2026-09-21T17:13:20Z");
    CHECK(rows[1][3] == "deposit");
    CHECK(rows[1][6] == "0.0005");
    CHECK(rows[2][3] == "withdraw_request");
    CHECK(rows[2][6] == "-0.0003");
    CHECK(rows[5][3] == "withdraw");
    CHECK(rows[5][7] == "0.0003");
    CHECK(rows[5][10] == "0");
    for (const auto& row : rows_of(to_csv(buyer)))
        CHECK(row.size() == 11);

    // Rows of some blocks only; the balances go on from those before.
    const AuditReport late =
        market.audited({.account = market.chain.buyer.address(), .from_block = 10});
    REQUIRE(late.movements.size() == 1);
    CHECK(late.movements[0].after == buyer.movements.back().after);
}

TEST_CASE("selection: where each token is adds up to what was deposited") {
    Market market;
    const Holdings all = market.audited().holdings;
    CHECK(all.deposited_atoms == 100'500);
    CHECK(all.free_atoms + all.locked_atoms + all.fees_due_atoms + all.earned_atoms +
              all.withdrawing_atoms + all.withdrawn_atoms + all.swept_atoms ==
          all.deposited_atoms);
    CHECK(all.fees_due_atoms == 28);
    CHECK(all.locked_atoms == 2'800);
}

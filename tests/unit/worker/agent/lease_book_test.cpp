// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/worker/agent/fixture.hpp"

#include <doctest/doctest.h>

#include <fstream>

using namespace worker::agent;        // NOLINT: the room under test
using namespace worker::agent::test;  // NOLINT

namespace {

struct Bound {
    TempFolder folder;
    PrivateKey worker = key_of(1);
    PrivateKey delegate = key_of(2);
    ledger::eth::Domain domain{31337, key_of(5).address()};
    LeaseTerms terms;

    Bound() {
        terms.lease = hash_of("lease");
        terms.parties.voucher_signer = delegate.address();
        terms.parties.worker_key = worker.address();
        terms.price_atoms = 1000;
        terms.max_units = 100;
        terms.spec = "{}";
        terms.job = "job_1";
    }
    [[nodiscard]] std::filesystem::path path() const { return folder.path() / "book"; }
    [[nodiscard]] std::shared_ptr<LeaseBook> make() const {
        auto book = LeaseBook::create(path(), terms);
        REQUIRE(book.has_value());
        return *book;
    }
    [[nodiscard]] WorkDone work(std::uint64_t units) const {
        WorkDone out;
        out.cumulative_units = units;
        out.step = units;
        out.response_hash = hash_of(std::to_string(units));
        out.start_ms = units;
        out.end_ms = units + 1;
        return out;
    }
    void append(LeaseBook& book, std::uint64_t units) const {
        REQUIRE(book.append(work(units), worker, domain).has_value());
    }
    [[nodiscard]] ledger::eth::Voucher voucher(const LeaseBook& book,
                                               std::uint64_t sequence) const {
        ledger::log::CompactTree tree;
        ledger::eth::Voucher out;
        out.lease = terms.lease;
        out.sequence = sequence;
        for (const StoredReceipt& stored : book.receipts_after(0)) {
            if (stored.receipt.sequence > sequence) break;
            const Hash32 hash = ledger::eth::struct_hash(stored.receipt);
            tree.append_data(ledger::base::ByteView(hash.data(), Hash32::kSize));
            out.cumulative_units = stored.receipt.cumulative_units;
            out.cumulative_amount_atoms = stored.receipt.cumulative_amount_atoms;
        }
        out.receipts_root = tree.root();
        return out;
    }
    [[nodiscard]] Result<StoredVoucher> sign(LeaseBook& book, const ledger::eth::Voucher& v) const {
        return book.countersign(v, delegate.sign(ledger::eth::digest(domain, v)), worker, domain);
    }
};

ErrorCode code_of(const Result<StoredVoucher>& result) {
    REQUIRE(!result.has_value());
    return result.error().code();
}

}  // namespace

TEST_CASE("lease_book: work that counts nothing new is not signed") {
    const Bound bound;
    const auto book = bound.make();
    CHECK(!book->append(bound.work(0), bound.worker, bound.domain).has_value());
    bound.append(*book, 10);
    CHECK(!book->append(bound.work(10), bound.worker, bound.domain).has_value());
    CHECK(!book->append(bound.work(9), bound.worker, bound.domain).has_value());
    CHECK(book->sequence() == 1);
}

TEST_CASE("lease_book: work above the lease's units is not signed") {
    const Bound bound;
    const auto book = bound.make();
    const auto refused = book->append(bound.work(101), bound.worker, bound.domain);
    REQUIRE(!refused.has_value());
    CHECK(refused.error().code() == ErrorCode::voucher_above_lock);
    CHECK(book->sequence() == 0);
}

TEST_CASE("lease_book: a lease known with other terms is refused") {
    Bound bound;
    (void)bound.make();
    bound.terms.price_atoms = 999;
    const auto book = LeaseBook::create(bound.path(), bound.terms);
    REQUIRE(!book.has_value());
    CHECK(book.error().code() == ErrorCode::exists_with_different_body);
}

TEST_CASE("lease_book: vouchers with other totals, root, lease or signer are refused") {
    const Bound bound;
    const auto book = bound.make();
    bound.append(*book, 10);
    bound.append(*book, 20);
    auto v = bound.voucher(*book, 2);
    v.receipts_root = hash_of("other");
    CHECK(code_of(bound.sign(*book, v)) == ErrorCode::invalid_field);
    v = bound.voucher(*book, 2);
    v.cumulative_units += 1;
    CHECK(code_of(bound.sign(*book, v)) == ErrorCode::invalid_field);
    v = bound.voucher(*book, 2);
    v.cumulative_amount_atoms -= 1;
    CHECK(code_of(bound.sign(*book, v)) == ErrorCode::invalid_field);
    v = bound.voucher(*book, 2);
    v.lease = hash_of("other");
    CHECK(code_of(bound.sign(*book, v)) == ErrorCode::invalid_field);
    v = bound.voucher(*book, 2);
    v.sequence = 3;
    CHECK(code_of(bound.sign(*book, v)) == ErrorCode::receipt_out_of_order);
    v = bound.voucher(*book, 2);
    const auto forged = book->countersign(v, key_of(8).sign(ledger::eth::digest(bound.domain, v)),
                                          bound.worker, bound.domain);
    CHECK(code_of(forged) == ErrorCode::invalid_signature);
    CHECK(book->voucher_amount_atoms() == 0);
}

TEST_CASE("lease_book: a lower voucher is refused, the same one gives the same answer") {
    const Bound bound;
    const auto book = bound.make();
    bound.append(*book, 10);
    bound.append(*book, 20);
    const auto first = bound.voucher(*book, 1);
    const auto second = bound.voucher(*book, 2);
    const auto signed_second = bound.sign(*book, second);
    REQUIRE(signed_second.has_value());
    CHECK(book->unpaid_atoms() == 0);
    CHECK(code_of(bound.sign(*book, first)) == ErrorCode::voucher_not_higher);
    const auto again = bound.sign(*book, second);
    REQUIRE(again.has_value());
    CHECK(*again == *signed_second);
}

TEST_CASE("lease_book: everything is there after it is opened again") {
    const Bound bound;
    std::vector<StoredReceipt> before;
    {
        const auto book = bound.make();
        bound.append(*book, 10);
        bound.append(*book, 20);
        REQUIRE(bound.sign(*book, bound.voucher(*book, 1)).has_value());
        REQUIRE(book->set_outcome(Outcome::kFinished).has_value());
        before = book->receipts_after(0);
    }
    const auto book = LeaseBook::open(bound.path());
    REQUIRE(book.has_value());
    CHECK((*book)->terms() == bound.terms);
    CHECK((*book)->receipts_after(0) == before);
    CHECK((*book)->unacknowledged().size() == 1);  // the voucher covers the first
    CHECK((*book)->unpaid_atoms() == 10'000);
    CHECK((*book)->outcome() == Outcome::kFinished);
}

TEST_CASE("lease_book: a record cut off by a crash is dropped, the chain goes on") {
    const Bound bound;
    {
        const auto book = bound.make();
        bound.append(*book, 10);
        bound.append(*book, 20);
    }
    const auto file = bound.path() / "receipts";
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 5);
    const auto book = LeaseBook::open(bound.path());
    REQUIRE(book.has_value());
    CHECK((*book)->sequence() == 1);
    bound.append(**book, 30);
    const auto again = LeaseBook::open(bound.path());
    REQUIRE(again.has_value());
    CHECK((*again)->sequence() == 2);
    CHECK((*again)->cumulative_units() == 30);
}

TEST_CASE("lease_book: damage in the middle is an error, not a shorter chain") {
    const Bound bound;
    {
        const auto book = bound.make();
        bound.append(*book, 10);
        bound.append(*book, 20);
    }
    {
        std::fstream file(bound.path() / "receipts",
                          std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(3);
        file.put('x');
    }
    CHECK(!LeaseBook::open(bound.path()).has_value());
}

TEST_CASE("lease_book: acknowledgements shorten what is sent again") {
    const Bound bound;
    const auto book = bound.make();
    for (const std::uint64_t units : {std::uint64_t{10}, std::uint64_t{20}, std::uint64_t{30}})
        bound.append(*book, units);
    book->acknowledge(2);
    REQUIRE(book->unacknowledged().size() == 1);
    CHECK(book->unacknowledged()[0].receipt.sequence == 3);
    book->acknowledge(1);  // late news
    CHECK(book->unacknowledged().size() == 1);
    book->acknowledge(99);  // more than there is
    CHECK(book->unacknowledged().empty());
}

TEST_CASE("payment_overdue: two periods of money or of time") {
    const Bound bound;
    const auto book = bound.make();
    const PaymentPolicy policy{10'000, 60'000};
    CHECK(!payment_overdue(*book, policy, 1'000'000));
    bound.append(*book, 10);  // 10,000 atoms at 11 ms
    CHECK(!payment_overdue(*book, policy, 60'000));
    CHECK(payment_overdue(*book, policy, 120'011));
    bound.append(*book, 20);
    CHECK(payment_overdue(*book, policy, 0));
}

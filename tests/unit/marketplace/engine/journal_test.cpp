// SPDX-License-Identifier: Apache-2.0
#include "marketplace/engine/journal.hpp"

#include "tests/support/market.hpp"

#include <doctest/doctest.h>

namespace marketplace::engine {
namespace {

Record sample() {
    Record record;
    record.sequence = 7;
    record.time_ms = 1234;
    record.previous = tests::fixed<domain::Hash32>(1);
    record.command = tests::make_train_job(1, 2);
    record.events = {domain::AskAccepted{}, domain::NotMatched{}};
    record.state_hash = tests::fixed<domain::Hash32>(2);
    return record;
}

}  // namespace

TEST_CASE("journal: refuses truncation, trailing bytes and other versions") {
    domain::Bytes bytes = encode_record(sample());
    for (std::size_t size = 0; size < bytes.size(); ++size)
        CHECK_FALSE(decode_record(ledger::base::ByteView(bytes).first(size)));
    domain::Bytes longer = bytes;
    longer.push_back(0);
    CHECK_FALSE(decode_record(longer));
    bytes[0] = 3;
    CHECK(decode_record(bytes).error().code() == ledger::base::ErrorCode::unsupported);
}

TEST_CASE("journal: a record comes back as it was") {
    const domain::Bytes bytes = encode_record(sample());
    const auto decoded = decode_record(bytes);
    REQUIRE(decoded);
    CHECK(*decoded == sample());
    CHECK(record_hash(bytes) == ledger::base::sha256(bytes));
}

}  // namespace marketplace::engine

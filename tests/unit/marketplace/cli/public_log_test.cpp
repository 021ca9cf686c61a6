// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/public_log.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/engine/engine.hpp"

#include <doctest/doctest.h>

#include <deque>

using namespace marketplace::cli;  // NOLINT: the room under test
namespace domain = marketplace::domain;
namespace engine = marketplace::engine;
using ledger::base::Bytes;
using ledger::base::ErrorCode;

namespace {

class ListReader final : public RecordReader {
 public:
    explicit ListReader(std::vector<Bytes> records) : records_(records.begin(), records.end()) {}
    [[nodiscard]] Result<std::optional<Bytes>> next() override {
        if (records_.empty()) return std::optional<Bytes>();
        Bytes record = std::move(records_.front());
        records_.pop_front();
        return std::optional(std::move(record));
    }

 private:
    std::deque<Bytes> records_;
};

constexpr ledger::eth::Domain kDomain{31337, {}};

Address account(std::uint8_t number) {
    Address out;
    out.data()[19] = number;
    return out;
}

/// A log of three deposits, as the market would write it.
std::vector<Bytes> make_log() {
    engine::EngineConfig config;
    config.domain = kDomain;
    engine::Engine engine(config);
    std::vector<Bytes> log;
    domain::Hash32 previous;
    for (std::uint8_t i = 1; i <= 3; ++i) {
        domain::EscrowDeposited deposit;
        deposit.account = account(i);
        deposit.amount_atoms = 1000;
        deposit.transaction.data()[0] = i;
        engine::Record record;
        record.sequence = log.size();
        record.time_ms = 1000U + i;
        record.previous = previous;
        record.command = deposit;
        const auto events = engine.apply(record.command, record.time_ms);
        REQUIRE(events.has_value());
        record.events = *events;
        record.state_hash = engine.state_hash();
        log.push_back(engine::encode_record(record));
        previous = engine::record_hash(log.back());
    }
    return log;
}

}  // namespace

TEST_CASE("replay: an honest log comes out the same") {
    ListReader reader(make_log());
    const auto report = replay(reader, kDomain, {}, 0);
    REQUIRE(report.has_value());
    CHECK(report->defect.empty());
    CHECK(report->records == 3);
}

TEST_CASE("replay: a changed byte is found") {
    const auto honest = make_log();
    for (const std::size_t place : {std::size_t{60}, honest[1].size() - 1}) {
        auto log = honest;
        log[1][place] ^= 1;
        ListReader reader(log);
        const auto report = replay(reader, kDomain, {}, 0);
        REQUIRE(report.has_value());
        CHECK(!report->defect.empty());
    }
    auto log = honest;
    log.erase(log.begin() + 1);
    ListReader reader(log);
    const auto report = replay(reader, kDomain, {}, 0);
    REQUIRE(report.has_value());
    CHECK(report->defect.find("record 1") != std::string::npos);
}

TEST_CASE("public_log: the audit sees broken records as defects") {
    auto log = make_log();
    log[1].back() ^= 1;
    ListReader reader(log);
    JournalSource source(reader);
    const auto first = source.next();
    REQUIRE(first.has_value());
    CHECK((*first)->defect.empty());
    const auto second = source.next();
    REQUIRE(second.has_value());
    const auto third = source.next();
    REQUIRE(third.has_value());
    CHECK(!(*third)->defect.empty());  // it names another hash
    const auto end = source.next();
    REQUIRE(end.has_value());
    CHECK(!end->has_value());
}

TEST_CASE("public_log: lines that are no records are refused") {
    for (const char* text : {"", "{}", "[1]", R"({"record":"0x123"})", R"({"record":"0x12"})"})
        CHECK(!parse_log_line(text, 0).has_value());
    const Bytes bytes{1, 2, 3};
    const std::string line = log_line(bytes, 5);
    const auto record = parse_log_line(line, 5);
    REQUIRE(record.has_value());
    CHECK(*record == bytes);
    CHECK(!parse_log_line(line, 4).has_value());
    for (std::size_t at = 0; at < line.size(); ++at) {
        std::string changed = line;
        changed[at] = static_cast<char>(changed[at] ^ 1);
        CHECK(!parse_log_line(changed, 5).has_value());
    }
}

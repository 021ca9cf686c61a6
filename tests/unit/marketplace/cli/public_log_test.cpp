// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/public_log.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/cli/replay.hpp"
#include "marketplace/engine/engine.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>

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

engine::EngineConfig make_rules() {
    engine::EngineConfig config;
    config.domain = kDomain;
    return config;
}

/// A log of three deposits, as the market would write it.
std::vector<Bytes> make_log() {
    engine::Engine engine(make_rules());
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
    const auto report = replay(reader, make_rules(), [](const auto&) {});
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
        const auto report = replay(reader, make_rules(), [](const auto&) {});
        REQUIRE(report.has_value());
        CHECK(!report->defect.empty());
    }
    auto log = honest;
    log.erase(log.begin() + 1);
    ListReader reader(log);
    const auto report = replay(reader, make_rules(), [](const auto&) {});
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

TEST_CASE("replay: the rules of a market are read from its facts, and refused when they are not") {
    engine::EngineConfig rules = make_rules();
    rules.operator_address = account(9);
    rules.max_failovers = 2;
    rules.voucher_period_atoms = 77;
    rules.batch_period_ms = 500;
    const nlohmann::json facts = rules_json(rules);
    for (const char* name : {"chain_id", "leases_contract", "operator_address"}) {
        nlohmann::json missing = facts;
        missing.erase(name);
        CHECK(parse_rules(missing).error().code() == ErrorCode::missing_field);
    }
    nlohmann::json wrong = facts;
    wrong["max_failovers"] = "many";
    CHECK(!parse_rules(wrong).has_value());
    wrong = facts;
    wrong["batch_period_ms"] = 0;
    CHECK(!parse_rules(wrong).has_value());
    const auto back = parse_rules(facts);
    REQUIRE(back.has_value());
    CHECK(back->domain == rules.domain);
    CHECK(back->operator_address == rules.operator_address);
    CHECK(back->max_failovers == 2);
    CHECK(back->voucher_period_atoms == 77);
    CHECK(back->batch_period_ms == 500);
}

TEST_CASE("replay: the first record that differs is named, with how many came out the same") {
    auto log = make_log();
    log[2].back() ^= 1;
    ListReader reader(log);
    const auto report = replay(reader, make_rules(), [](const auto&) {});
    REQUIRE(report.has_value());
    CHECK(report->records == 2);
    CHECK(report->defect.starts_with("record 2: "));
}

TEST_CASE("public_log: a file says its market before the first record") {
    CHECK(!*parse_facts_line(log_line(make_log()[0], 0)));
    CHECK(!parse_facts_line(R"({"market":7})").has_value());
    CHECK(!parse_facts_line(R"({"market":{)").has_value());
    CHECK(!parse_facts_line(R"({"market":{},"more":1})").has_value());
    const nlohmann::json facts = rules_json(make_rules());
    const auto back = parse_facts_line(facts_line(facts));
    REQUIRE(back.has_value());
    REQUIRE(back->has_value());
    CHECK(**back == facts);
}

TEST_CASE("public_log: a fetched file gives its facts and its records, with or without a head") {
    const auto log = make_log();
    const auto path = std::filesystem::temp_directory_path() /
                      ("millrace-log-" + std::to_string(::getpid()) + ".jsonl");
    for (const bool with_head : {true, false}) {
        CAPTURE(with_head);
        std::ofstream out(path, std::ios::binary | std::ios::trunc);
        if (with_head) out << facts_line(rules_json(make_rules())) << '\n';
        for (std::size_t i = 0; i < log.size(); ++i)
            out << log_line(log[i], i) << '\n';
        out.close();
        Context context;
        const auto reader = open_log(context, path.string());
        REQUIRE(reader.has_value());
        const auto facts = (*reader)->facts();
        REQUIRE(facts.has_value());
        CHECK(facts->is_null() != with_head);
        const auto report = replay(**reader, make_rules(), [](const auto&) {});
        REQUIRE(report.has_value());
        CHECK(report->records == 3);
        CHECK(report->defect.empty());
        CHECK((*reader)->permille() == 1000);
    }
    std::filesystem::remove(path);
}

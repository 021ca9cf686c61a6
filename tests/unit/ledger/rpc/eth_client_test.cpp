// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/eth_client.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/eth/transaction.hpp"
#include "ledger/rpc/json.hpp"
#include "tests/support/faulty_node.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

namespace {

using ledger::base::Address;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::base::Result;
using ledger::rpc::BlockTag;
using ledger::rpc::EthClient;
using nlohmann::json;

/// Answers with what the test wants; `$id` stands for the request's id.
class FakeTransport final : public ledger::rpc::RpcTransport {
 public:
    using Script = std::function<std::string(const json& request)>;
    explicit FakeTransport(Script script) : script_(std::move(script)) {}
    Result<std::string> exchange(const std::string& body) override {
        const json request = json::parse(body);
        std::string answer = script_(request);
        if (const std::size_t at = answer.find("$id"); at != answer.npos)
            answer.replace(at, 3, std::to_string(request["id"].get<std::uint64_t>()));
        return answer;
    }

 private:
    Script script_;
};

EthClient client_that(FakeTransport::Script script) {
    return EthClient(std::make_unique<FakeTransport>(std::move(script)));
}
EthClient client_saying(const std::string& answer) {
    return client_that([answer](const json&) { return answer; });
}
EthClient client_with_result(const std::string& result) {
    return client_saying(R"({"jsonrpc":"2.0","id":$id,"result":)" + result + "}");
}
EthClient client_with_error(const std::string& error) {
    return client_saying(R"({"jsonrpc":"2.0","id":$id,"error":)" + error + "}");
}

const std::string kHash(64, 'a');
const std::string kAddress(40, 'b');

std::string log_json(std::uint64_t block, std::uint64_t index, const std::string& extra = "") {
    return R"({"address":"0x)" + kAddress + R"(","topics":["0x)" + kHash +
           R"("],"data":"0x","blockNumber":")" + ledger::eth::to_quantity(block) +
           R"(","blockHash":"0x)" + kHash + R"(","transactionHash":"0x)" + kHash +
           R"(","logIndex":")" + ledger::eth::to_quantity(index) + "\"" + extra + "}";
}

/// Each method's outcome; those that read bytes come last.
constexpr std::size_t kLogs = 9;
constexpr std::size_t kBytes = 10;
const std::vector<std::function<ErrorCode(EthClient&)>>& methods() {
    const auto code = [](const auto& answer) {
        return answer ? ErrorCode{} : answer.error().code();
    };
    static const std::vector<std::function<ErrorCode(EthClient&)>> all = {
        [code](EthClient& c) { return code(c.chain_id()); },
        [code](EthClient& c) { return code(c.block_number()); },
        [code](EthClient& c) { return code(c.block(BlockTag::Name::kLatest)); },
        [code](EthClient& c) { return code(c.balance(Address(), BlockTag::Name::kLatest)); },
        [code](EthClient& c) { return code(c.nonce(Address(), BlockTag::Name::kLatest)); },
        [code](EthClient& c) { return code(c.estimate_gas({})); },
        [code](EthClient& c) { return code(c.suggest_fees()); },
        [code](EthClient& c) {
            return code(c.send_raw(Bytes{1, 2}));
        },
        [code](EthClient& c) { return code(c.receipt(Hash32())); },
        [code](EthClient& c) {
            return code(c.logs({0, 0, {}, {}, {}, {}}));
        },
        [code](EthClient& c) { return code(c.code(Address(), BlockTag::Name::kLatest)); },
        [code](EthClient& c) { return code(c.call({}, BlockTag::Name::kLatest)); },
    };
    return all;
}

}  // namespace

TEST_CASE("eth_client: every wrong shape of an answer is the node's nonsense, never a value") {
    for (std::size_t method = 0; method < methods().size(); ++method) {
        CAPTURE(method);
        for (const std::string& envelope : tests::support::wrong_envelopes()) {
            CAPTURE(envelope.substr(0, 100));
            EthClient client = client_saying(envelope);
            CHECK(methods()[method](client) == ErrorCode::chain_bad_answer);
        }
        for (const std::string& result : tests::support::wrong_results()) {
            if (method == kLogs && result == "[]") continue;  // no logs: a good answer
            CAPTURE(result);
            EthClient client = client_with_result(result);
            CHECK(methods()[method](client) == ErrorCode::chain_bad_answer);
        }
        for (const char* number : {"\"0x\"", "\"0x01\"",
                                   "\"0x10000000000000000000000000000000000000"
                                   "000000000000000000000000001\""}) {
            if (method >= kBytes) continue;  // bytes: good or not by their length
            CAPTURE(number);
            EthClient client = client_with_result(number);
            CHECK(methods()[method](client) == ErrorCode::chain_bad_answer);
        }
        for (const std::string& trouble : tests::support::node_troubles()) {
            CAPTURE(trouble);
            EthClient client = client_with_error(trouble);
            CHECK(methods()[method](client) == ErrorCode::chain_unreachable);
        }
    }
    EthClient null_id = client_with_result("null");
    CHECK(null_id.chain_id().error().code() == ErrorCode::chain_bad_answer);
    CHECK(null_id.block(BlockTag::number(5)).error().code() == ErrorCode::not_found);
    CHECK(!null_id.receipt(Hash32()).value());
}

TEST_CASE("eth_client: values above 64 bits are refused where 64 are needed") {
    EthClient client = client_with_result(R"("0x10000000000000000")");
    CHECK(client.block_number().error().code() == ErrorCode::chain_bad_answer);
    CHECK(client.nonce(Address(), BlockTag::Name::kLatest).error().code() ==
          ErrorCode::chain_bad_answer);
    CHECK(client.balance(Address(), BlockTag::Name::kLatest).has_value());
}

TEST_CASE("eth_client: only a clear no of the chain is chain_refused") {
    const auto code_of = [](const std::string& error) {
        EthClient client = client_with_error(error);
        return client.estimate_gas({}).error().code();
    };
    CHECK(code_of(R"({"code":3,"message":"execution reverted"})") == ErrorCode::chain_refused);
    CHECK(code_of(R"({"code":-32000,"message":"Nonce too low"})") == ErrorCode::chain_refused);
    CHECK(code_of(R"({"code":-32003,"message":"Insufficient funds for gas"})") ==
          ErrorCode::chain_refused);
    CHECK(code_of(R"({"code":-32005,"message":"limit exceeded"})") == ErrorCode::chain_unreachable);
    CHECK(code_of(R"({"code":-32603,"message":"internal error"})") == ErrorCode::chain_unreachable);
    CHECK(code_of(R"({"code":-32601,"message":"method not found"})") ==
          ErrorCode::chain_unreachable);
    CHECK(code_of(R"({"code":-32000,"message":"header not found"})") ==
          ErrorCode::chain_unreachable);
    CHECK(code_of(R"({"code":-32000,"message":"unknown transaction"})") ==
          ErrorCode::chain_unreachable);
}

TEST_CASE("eth_client: a revert carries its data, node text does not travel") {
    EthClient client = client_with_error(
        R"({"code":3,"message":"execution reverted: secret/path","data":"0x1234"})");
    const auto failed = client.call({}, BlockTag::Name::kLatest);
    REQUIRE(!failed);
    CHECK(failed.error().detail().find("secret") == std::string::npos);
    CHECK(ledger::rpc::revert_data_in(failed.error()) == Bytes{0x12, 0x34});
    EthClient nested =
        client_with_error(R"({"code":-32000,"message":"revert","data":{"data":"0xab"}})");
    CHECK(ledger::rpc::revert_data_in(nested.call({}, BlockTag::Name::kLatest).error()) ==
          Bytes{0xab});
    EthClient bare = client_with_error(R"({"code":3,"message":"execution reverted"})");
    CHECK(!ledger::rpc::revert_data_in(bare.call({}, BlockTag::Name::kLatest).error()));
    CHECK(!ledger::rpc::revert_data_in(ledger::base::Error(ErrorCode::timeout, "reverted 0x1234")));
}

TEST_CASE("eth_client: a transaction the node knows is sent, another one's hash is nonsense") {
    const Bytes raw = {2, 3, 4};
    const Hash32 hash = ledger::eth::transaction_hash(raw);
    EthClient known = client_with_error(R"({"code":-32000,"message":"already known"})");
    CHECK(known.send_raw(raw).value() == hash);
    EthClient imported =
        client_with_error(R"({"code":-32003,"message":"transaction already imported"})");
    CHECK(imported.send_raw(raw).value() == hash);
    EthClient same = client_with_result("\"" + ledger::base::to_hex(hash) + "\"");
    CHECK(same.send_raw(raw).value() == hash);
    EthClient other = client_with_result("\"0x" + kHash + "\"");
    CHECK(other.send_raw(raw).error().code() == ErrorCode::chain_bad_answer);
}

TEST_CASE("eth_client: a receipt of another transaction or with foreign logs is nonsense") {
    const auto receipt = [](const std::string& hash, const std::string& status,
                            const std::string& logs) {
        return R"({"transactionHash":"0x)" + hash + R"(","blockNumber":"0x5","blockHash":"0x)" +
               kHash + R"(","status":")" + status + R"(","gasUsed":"0x5208","logs":)" + logs + "}";
    };
    const Hash32 asked = ledger::base::parse_fixed<Hash32>("0x" + kHash).value();
    EthClient good = client_with_result(receipt(kHash, "0x1", "[" + log_json(5, 0) + "]"));
    const auto value = good.receipt(asked);
    REQUIRE(value);
    REQUIRE(*value);
    CHECK((*value)->succeeded);
    CHECK((*value)->gas_used == 21000);
    CHECK((*value)->logs.size() == 1);
    EthClient other = client_with_result(receipt(std::string(64, 'c'), "0x1", "[]"));
    CHECK(other.receipt(asked).error().code() == ErrorCode::chain_bad_answer);
    EthClient status = client_with_result(receipt(kHash, "0x2", "[]"));
    CHECK(status.receipt(asked).error().code() == ErrorCode::chain_bad_answer);
    EthClient removed =
        client_with_result(receipt(kHash, "0x1", "[" + log_json(5, 0, R"(,"removed":true)") + "]"));
    CHECK(removed.receipt(asked).error().code() == ErrorCode::chain_bad_answer);
}

TEST_CASE("eth_client: logs outside the question or out of order are nonsense") {
    const Address asked = ledger::base::parse_fixed<Address>("0x" + kAddress).value();
    const auto code_of = [&](const std::string& logs, const Address& address) {
        EthClient client = client_with_result("[" + logs + "]");
        const auto found = client.logs({5, 6, {address}, {}, {}, {}});
        return found ? ErrorCode{} : found.error().code();
    };
    CHECK(code_of(log_json(4, 0), asked) == ErrorCode::chain_bad_answer);
    CHECK(code_of(log_json(7, 0), asked) == ErrorCode::chain_bad_answer);
    CHECK(code_of(log_json(5, 0), Address()) == ErrorCode::chain_bad_answer);
    CHECK(code_of(log_json(5, 1) + "," + log_json(5, 0), asked) == ErrorCode::chain_bad_answer);
    CHECK(code_of(log_json(6, 0) + "," + log_json(5, 1), asked) == ErrorCode::chain_bad_answer);
    CHECK(code_of(log_json(5, 0) + "," + log_json(5, 0), asked) == ErrorCode::chain_bad_answer);
    EthClient good = client_with_result("[" + log_json(5, 0) + "," + log_json(6, 0) + "]");
    CHECK(good.logs({5, 6, {asked}, {}, {}, {}})->size() == 2);
}

TEST_CASE("eth_client: long ranges are read in chunks, smaller when the node refuses") {
    std::vector<std::pair<std::string, std::string>> asked;
    EthClient client(
        std::make_unique<FakeTransport>([&](const json& request) -> std::string {
            const json& filter = request["params"][0];
            const auto from = ledger::eth::parse_quantity(filter["fromBlock"].get<std::string>());
            const auto to = ledger::eth::parse_quantity(filter["toBlock"].get<std::string>());
            asked.emplace_back(filter["fromBlock"], filter["toBlock"]);
            if (*to - *from + 1 > 25)
                return R"({"jsonrpc":"2.0","id":$id,"error":{"code":-32005,"message":"too many"}})";
            return R"({"jsonrpc":"2.0","id":$id,"result":[)" +
                   log_json(*ledger::eth::to_u64(*from), 0) + "]}";
        }),
        {100, 1000});
    const auto found = client.logs({0, 99, {}, {}, {}, {}});
    REQUIRE(found);
    CHECK(found->size() == 4);
    CHECK(asked.size() == 6);
    EthClient full(std::make_unique<FakeTransport>([](const json&) -> std::string {
                       return R"({"jsonrpc":"2.0","id":$id,"result":[)" + log_json(0, 0) + "," +
                              log_json(0, 1) + "]}";
                   }),
                   {100, 1});
    CHECK(full.logs({0, 0, {}, {}, {}, {}}).error().code() == ErrorCode::too_large);
}

TEST_CASE("eth_client: HTTP trouble is told apart from answers") {
    using tests::support::http_answer;
    using tests::support::ScriptedServer;
    using tests::support::ServerAction;
    using Then = ServerAction::Then;
    ledger::rpc::HttpLimits limits;
    limits.exchange_timeout = std::chrono::milliseconds(300);
    const auto code_of = [&](const ServerAction& action) {
        ScriptedServer server([&](const std::string&) { return action; });
        EthClient client(server.url(), limits);
        const ErrorCode first = methods().front()(client);
        // A black hole takes its time: not for each of them.
        if (first != ErrorCode::timeout)
            for (const auto& method : methods())
                CHECK(method(client) == first);
        return first;
    };
    for (const char* status :
         {"401 No", "403 No", "404 No", "429 Slow", "500 Oh", "502 Oh", "503 Oh"})
        CHECK(code_of({http_answer(status, R"({"jsonrpc":"2.0","id":1,"result":"0x1"})"),
                       Then::kKeep}) == ErrorCode::chain_unreachable);
    CHECK(code_of({"", Then::kReset}) == ErrorCode::chain_unreachable);
    CHECK(code_of({"", Then::kClose}) == ErrorCode::chain_unreachable);
    CHECK(code_of({"", Then::kHang}) == ErrorCode::timeout);
    CHECK(code_of({http_answer("200 OK", "{}"), Then::kKeep, 50}) == ErrorCode::timeout);
    CHECK(code_of({"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", Then::kClose}) ==
          ErrorCode::chain_unreachable);
    CHECK(code_of({"garbage\r\n\r\n", Then::kClose}) == ErrorCode::chain_bad_answer);
    CHECK(code_of({http_answer("200 OK", std::string(10 * 1024 * 1024, ' ')), Then::kKeep}) ==
          ErrorCode::chain_bad_answer);
    EthClient nobody("http://127.0.0.1:1/", limits);
    CHECK(nobody.chain_id().error().code() == ErrorCode::chain_unreachable);
}

TEST_CASE("eth_client: through a node that fails in every way, an answer is right or none") {
    using tests::support::FaultyNode;
    tests::support::ScriptedServer node([](const std::string& request) {
        const std::string body = request.substr(request.find("\r\n\r\n") + 4);
        const std::string id = json::parse(body)["id"].dump();
        return tests::support::ServerAction{tests::support::http_answer(
            "200 OK", R"({"jsonrpc":"2.0","id":)" + id + R"(,"result":"0x7a69"})")};
    });
    FaultyNode faulty(node.url(), 7, 80);
    ledger::rpc::HttpLimits limits;
    limits.exchange_timeout = std::chrono::milliseconds(50);
    EthClient client(faulty.url(), limits);
    int right = 0;
    for (int i = 0; i < 400; ++i) {
        const auto id = client.chain_id();
        if (id) CHECK(*id == 31337);
        right += id ? 1 : 0;
        if (!id)
            CHECK((id.error().code() == ErrorCode::chain_unreachable ||
                   id.error().code() == ErrorCode::timeout ||
                   id.error().code() == ErrorCode::chain_bad_answer));
    }
    CHECK(right > 40);
    CHECK(right < 160);
    for (std::size_t fault = 0; fault < FaultyNode::kFaults; ++fault)
        CHECK(faulty.failed(static_cast<FaultyNode::Fault>(fault)) > 0);
}

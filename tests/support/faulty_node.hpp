// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/rpc/json_rpc.hpp"
#include "tests/support/scripted_server.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace tests::support {

/// What is no answer to a JSON-RPC question; `$id` stands for its id. None may become a value.
inline const std::vector<std::string>& wrong_envelopes() {
    static const std::vector<std::string> all = {
        "",
        "hello",
        "{",
        "null",
        "[]",
        "[{}]",
        R"({"jsonrpc":"2.0","id":$id})",
        R"({"jsonrpc":"2.0","id":$id,"result":"0x1","error":{"code":1,"message":"x"}})",
        R"({"jsonrpc":"1.0","id":$id,"result":"0x1"})",
        R"({"id":$id,"result":"0x1"})",
        R"({"jsonrpc":"2.0","id":77777777,"result":"0x1"})",
        R"({"jsonrpc":"2.0","id":"$id","result":"0x1"})",
        R"({"jsonrpc":"2.0","id":null,"result":"0x1"})",
        R"({"jsonrpc":"2.0","result":"0x1"})",
        R"({"jsonrpc":"2.0","id":$id,"result":"0x1"} extra)",
        R"({"jsonrpc":"2.0","id":$id,"result":"0x1","result":"0x2"})",
        R"({"jsonrpc":"2.0","id":$id,"error":null})",
        R"({"jsonrpc":"2.0","id":$id,"error":"no"})",
        R"({"jsonrpc":"2.0","id":$id,"error":{"code":"x","message":"y"}})",
        R"({"jsonrpc":"2.0","id":$id,"error":{"code":1}})",
        R"({"jsonrpc":"2.0","id":$id,"result":)" + std::string(40, '[') + std::string(40, ']') +
            "}",
        R"({"jsonrpc":"2.0","id":$id,"result":")" + std::string(10 << 20, '0') + "\"}",
        R"({"jsonrpc":"2.0","id":$id,"result":1e999})",
        "\xff\xfe\x00{",
    };
    return all;
}

/// Results that no question has; a list of logs may be empty, see `[]`.
inline const std::vector<std::string>& wrong_results() {
    static const std::vector<std::string> all = {
        "true",
        "5",
        "-1",
        "1.5",
        "[]",
        "{}",
        R"("")",
        R"("x")",
        R"("5")",
        R"("-0x1")",
        R"("0x-1")",
        R"("0xg")",
        R"("0x 1")",
        R"([null])",
        R"([[]])",
        R"({"number":"0x1"})",
        R"({"blockNumber":"0x1","transactionHash":null})",
    };
    return all;
}

/// Error objects that say "I could not answer" in the words of known nodes.
inline const std::vector<std::string>& node_troubles() {
    static const std::vector<std::string> all = {
        R"({"code":-32000,"message":"header not found"})",
        R"({"code":-32000,"message":"unknown transaction"})",
        R"({"code":-32005,"message":"limit exceeded"})",
        R"({"code":-32016,"message":"over rate limit"})",
        R"({"code":-32603,"message":"internal error"})",
        R"({"code":-32601,"message":"method not found"})",
        R"({"code":-32002,"message":"request timed out"})",
        R"({"code":-32000,"message":"missing trie node 1234"})",
        R"({"code":19,"message":"Temporary internal error. Please retry"})",
        R"({"code":-32000,"message":"project ID does not have access to archive state"})",
    };
    return all;
}

/// Stands in front of a node and lets `percent` of 100 exchanges fail, drawn from a seed. One
/// client at a time.
class FaultyNode {
 public:
    enum class Fault : std::uint8_t {
        kReset = 0,
        kClose,
        kBlackHole,
        kTrickle,  ///< a good answer, a byte at a time
        kStatus,   ///< HTTP 429, 500, 502, 503
        kTrouble,  ///< an error object
        kGarbage,
        kTruncated,
        kLostAnswer,  ///< the node acted, and nobody hears of it
    };
    static constexpr std::size_t kFaults = 9;

    FaultyNode(std::string url, std::uint64_t seed, unsigned fault_percent)
        : percent(fault_percent),
          state_(seed),
          node_(std::move(url)),
          server_([this](const std::string& request) { return act(request); }) {}

    [[nodiscard]] std::string url() const { return server_.url(); }
    [[nodiscard]] std::uint64_t asked() const noexcept { return asked_; }
    [[nodiscard]] std::uint64_t failed(Fault fault) const noexcept {
        return failed_[static_cast<std::size_t>(fault)];
    }
    /// Of the calls so far, how many in 100 failed.
    [[nodiscard]] double failed_percent() const noexcept {
        std::uint64_t sum = 0;
        for (const auto& count : failed_)
            sum += count;
        return 100.0 * static_cast<double>(sum) / static_cast<double>(asked_);
    }

    std::atomic<unsigned> percent;
    /// Changes what the node said: set before the first question.
    std::function<void(const std::string& method, nlohmann::json& result)> lie;

 private:
    using Then = ServerAction::Then;

    std::uint64_t draw(std::uint64_t bound) {
        state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
        return (state_ >> 33) % bound;
    }
    template <typename List>
    const auto& any_of(const List& list) {
        return list[draw(std::size(list))];
    }
    /// Those that cost the client its time-out are the rarest.
    Fault draw_fault() {
        static constexpr std::array<std::uint64_t, kFaults> kWeights = {20, 12, 1, 1, 20,
                                                                        20, 16, 5, 15};
        std::uint64_t left = draw(110);
        std::size_t fault = 0;
        while (left >= kWeights[fault])
            left -= kWeights[fault++];
        return static_cast<Fault>(fault);
    }
    ServerAction act(const std::string& request) {
        ++asked_;
        const std::string body = request.substr(request.find("\r\n\r\n") + 4);
        if (draw(100) >= percent) return {http_answer("200 OK", forward(body)), Then::kKeep};
        const Fault fault = draw_fault();
        ++failed_[static_cast<std::size_t>(fault)];
        return fail_with(fault, body);
    }
    ServerAction fail_with(Fault fault, const std::string& body) {
        static const std::vector<std::string> statuses = {
            "429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway",
            "503 Service Unavailable"};
        const auto id = nlohmann::json::parse(body)["id"].dump();
        const auto with_id = [&id](std::string text) {
            if (const std::size_t at = text.find("$id"); at != text.npos) text.replace(at, 3, id);
            return text;
        };
        switch (fault) {
            case Fault::kReset:
                return {"", Then::kReset};
            case Fault::kClose:
                return {"", Then::kClose};
            case Fault::kBlackHole:
                return {"", Then::kHang};
            case Fault::kTrickle:
                return {http_answer("200 OK", forward(body)), Then::kClose, 20};
            case Fault::kStatus:
                return {http_answer(any_of(statuses), "later"), Then::kKeep};
            case Fault::kTrouble:
                return {http_answer("200 OK", with_id(R"({"jsonrpc":"2.0","id":$id,"error":)" +
                                                      any_of(node_troubles()) + "}")),
                        Then::kKeep};
            case Fault::kGarbage:
                return {http_answer("200 OK", with_id(any_of(wrong_envelopes()))), Then::kKeep};
            case Fault::kTruncated: {
                const std::string whole = http_answer("200 OK", forward(body));
                return {whole.substr(0, draw(whole.size())), Then::kClose};
            }
            case Fault::kLostAnswer:
                static_cast<void>(forward(body));
                return {"", Then::kReset};
        }
        return {};
    }
    std::string forward(const std::string& body) {
        std::string answer = node_.exchange(body).value_or("the node is gone");
        if (!lie) return answer;
        auto document = nlohmann::json::parse(answer);
        lie(nlohmann::json::parse(body)["method"], document["result"]);
        return document.dump();
    }

    std::uint64_t state_;
    std::atomic<std::uint64_t> asked_ = 0;
    std::array<std::atomic<std::uint64_t>, kFaults> failed_{};
    ledger::rpc::HttpRpcTransport node_;
    ScriptedServer server_;
};

}  // namespace tests::support

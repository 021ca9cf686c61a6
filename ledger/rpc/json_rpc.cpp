// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/json_rpc.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/chain.hpp"
#include "ledger/rpc/json.hpp"

#include <algorithm>
#include <array>

namespace ledger::rpc {

using base::Error;
using base::ErrorCode;
using base::fail;
using base::Result;
using nlohmann::json;

namespace {

constexpr std::string_view kReverted = "reverted";
constexpr std::size_t kRevertDataBytes = 4096;

std::string lower(std::string_view text) {
    std::string out(text.substr(0, 512));
    std::transform(out.begin(), out.end(), out.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return out;
}

/// Nodes say the same in different words: what they mean, in ours. Node text goes no further.
struct Phrase {
    std::string_view theirs;
    std::string_view ours;
};
constexpr std::array<Phrase, 18> kRefusals = {{
    {"nonce too low", "nonce too low"},
    {"nonce is too low", "nonce too low"},
    {"nonce too high", "nonce too high"},
    {"already known", "already known"},
    {"already imported", "already known"},
    {"already in the pool", "already known"},
    {"alreadyknown", "already known"},
    {"replacement transaction underpriced", "replacement underpriced"},
    {"transaction underpriced", "underpriced"},
    {"max fee per gas less than block base fee", "fee below the base fee"},
    {"insufficient funds", "the account cannot pay for the gas"},
    {"intrinsic gas too low", "gas limit too low"},
    {"gas required exceeds", "the call needs more gas than it may use"},
    {"out of gas", "the call needs more gas than it may use"},
    {"exceeds block gas limit", "gas limit above the block's"},
    {"gas limit", "gas limit out of bounds"},
    {"invalid sender", "invalid sender"},
    {"invalid chain id", "the transaction is for another chain"},
}};

/// Only a clear no of the chain is chain_refused; everything else means that we do not know.
Error classify(std::int64_t code, std::string_view message, const std::string& data) {
    const std::string text = lower(message);
    if (code == 3 || text.find("revert") != text.npos) {
        std::string detail(kReverted);
        const auto bytes = base::parse_hex(data, kRevertDataBytes);
        if (bytes && !bytes->empty()) detail += " " + base::to_hex(*bytes);
        return Error(ErrorCode::chain_refused, detail);
    }
    if (text.find("unknown transaction") == text.npos)
        for (const Phrase& phrase : kRefusals)
            if (text.find(phrase.theirs) != text.npos)
                return Error(ErrorCode::chain_refused, std::string(phrase.ours));
    return Error(ErrorCode::chain_unreachable,
                 "the node could not answer (code " + std::to_string(code) + ")");
}

Result<json> node_error(const json& error) {
    if (!error.is_object() || !error.contains("code") || !error["code"].is_number_integer() ||
        !error.contains("message") || !error["message"].is_string())
        return fail(ErrorCode::chain_bad_answer, "an error without code and message");
    std::string data;
    if (const auto found = error.find("data"); found != error.end()) {
        if (found->is_string()) data = found->get<std::string>();
        // Some nodes nest it: {"data": {"data": "0x…"}}.
        if (found->is_object() && found->contains("data") && (*found)["data"].is_string())
            data = (*found)["data"].get<std::string>();
    }
    return tl::make_unexpected(classify(error["code"].get<std::int64_t>(),
                                        error["message"].get_ref<const std::string&>(), data));
}

}  // namespace

std::optional<base::Bytes> revert_data_in(const Error& error) {
    const std::string_view detail = error.detail();
    if (error.code() != ErrorCode::chain_refused || !detail.starts_with(kReverted))
        return std::nullopt;
    const std::size_t begin = kReverted.size() + 1;
    if (detail.size() <= begin) return std::nullopt;
    auto bytes = base::parse_hex(detail.substr(begin), kRevertDataBytes);
    if (!bytes) return std::nullopt;
    return std::move(*bytes);
}

HttpRpcTransport::HttpRpcTransport(std::string url, HttpLimits limits)
    : url_(std::move(url)), client_(limits) {}

Result<std::string> HttpRpcTransport::exchange(const std::string& body) {
    HttpRequest request{"POST", url_, {{"Content-Type", "application/json"}}, body};
    auto response = client_.request(request);
    if (response) {
        if (response->status == 200) return std::move(response->body);
        return fail(ErrorCode::chain_unreachable,
                    "the node answered with status " + std::to_string(response->status));
    }
    switch (response.error().code()) {
        case ErrorCode::timeout:
            return fail(ErrorCode::timeout, "the node");
        case ErrorCode::too_large:
        case ErrorCode::invalid_encoding:
            return fail(ErrorCode::chain_bad_answer, response.error().detail());
        case ErrorCode::invalid_field:
        case ErrorCode::unsupported:
            return tl::make_unexpected(response.error());
        default:
            return fail(ErrorCode::chain_unreachable, response.error().detail());
    }
}

JsonRpcClient::JsonRpcClient(std::unique_ptr<RpcTransport> transport)
    : transport_(std::move(transport)) {}

Result<json> JsonRpcClient::call(std::string_view method, json params) {
    const std::uint64_t id = next_id_++;
    json request = json::object();
    request["jsonrpc"] = "2.0";
    request["id"] = id;
    request["method"] = std::string(method);
    request["params"] = std::move(params);
    TRY_ASSIGN(const std::string answer, transport_->exchange(to_text(request)));
    auto document = parse_json(answer);
    if (!document)
        return fail(ErrorCode::chain_bad_answer, "not JSON: " + document.error().detail());
    json& object = *document;
    if (!object.is_object() || !object.contains("jsonrpc") || object["jsonrpc"] != "2.0")
        return fail(ErrorCode::chain_bad_answer, "not a JSON-RPC 2.0 answer");
    if (!object.contains("id") || !object["id"].is_number_unsigned() || object["id"] != id)
        return fail(ErrorCode::chain_bad_answer, "the answer to another question");
    if (object.contains("result") == object.contains("error"))
        return fail(ErrorCode::chain_bad_answer, "neither a result nor an error, or both");
    if (object.contains("error")) return node_error(object["error"]);
    return std::move(object["result"]);
}

}  // namespace ledger::rpc

// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/eth_client.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/eth/transaction.hpp"
#include "ledger/rpc/json.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace ledger::rpc {

using base::Address;
using base::Bytes;
using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Result;
using eth::U256;
using nlohmann::json;

namespace {

constexpr std::size_t kCodeBytes = 64 * 1024;
constexpr std::size_t kDataBytes = 1024 * 1024;
constexpr std::size_t kReceiptLogs = 10'000;
constexpr std::uint64_t kFallbackPriorityFee = 1'000'000'000;  // 1 gwei

tl::unexpected<base::Error> nonsense(std::string_view what) {
    return fail(ErrorCode::chain_bad_answer, std::string(what));
}

/// Any failure to read an answer is the node's nonsense.
template <typename T>
Result<T> answered(Result<T> value, std::string_view what) {
    if (!value) return nonsense(what);
    return value;
}

Result<U256> quantity(const json& value, std::string_view what) {
    if (!value.is_string()) return nonsense(what);
    return answered(eth::parse_quantity(value.get_ref<const std::string&>()), what);
}

Result<std::uint64_t> quantity64(const json& value, std::string_view what) {
    TRY_ASSIGN(const U256 wide, quantity(value, what));
    return answered(eth::to_u64(wide), what);
}

template <typename Fixed>
Result<Fixed> fixed(const json& value, std::string_view what) {
    if (!value.is_string() || !value.get_ref<const std::string&>().starts_with("0x"))
        return nonsense(what);
    return answered(base::parse_fixed<Fixed>(value.get_ref<const std::string&>()), what);
}

Result<Bytes> bytes(const json& value, std::size_t most, std::string_view what) {
    if (!value.is_string() || !value.get_ref<const std::string&>().starts_with("0x"))
        return nonsense(what);
    return answered(base::parse_hex(value.get_ref<const std::string&>(), most), what);
}

Result<const json*> member(const json& object, const char* name) {
    if (!object.is_object()) return nonsense("not an object");
    const auto found = object.find(name);
    if (found == object.end()) return nonsense(std::string("without ") + name);
    return &*found;
}

json to_json(BlockTag tag) {
    switch (tag.name()) {
        case BlockTag::Name::kNumber:
            return eth::to_quantity(U256(tag.value()));
        case BlockTag::Name::kLatest:
            return "latest";
        case BlockTag::Name::kPending:
            return "pending";
        case BlockTag::Name::kSafe:
            return "safe";
        case BlockTag::Name::kFinalized:
            return "finalized";
        case BlockTag::Name::kEarliest:
            return "earliest";
    }
    return "latest";
}

json to_json(const CallRequest& request) {
    json out = json::object();
    if (request.from) out["from"] = base::to_hex(*request.from);
    if (request.to) out["to"] = base::to_hex(*request.to);
    if (request.value != 0) out["value"] = eth::to_quantity(request.value);
    out["data"] = base::to_hex(request.data);
    return out;
}

Result<BlockHead> parse_block(const json& object) {
    BlockHead head;
    TRY_ASSIGN(const json* number, member(object, "number"));
    TRY_ASSIGN(head.number, quantity64(*number, "a block's number"));
    TRY_ASSIGN(const json* hash, member(object, "hash"));
    TRY_ASSIGN(head.hash, fixed<Hash32>(*hash, "a block's hash"));
    TRY_ASSIGN(const json* parent, member(object, "parentHash"));
    TRY_ASSIGN(head.parent, fixed<Hash32>(*parent, "a block's parent"));
    TRY_ASSIGN(const json* time, member(object, "timestamp"));
    TRY_ASSIGN(head.time_s, quantity64(*time, "a block's time"));
    if (const auto fee = object.find("baseFeePerGas"); fee != object.end()) {
        TRY_ASSIGN(head.base_fee_per_gas, quantity(*fee, "a block's base fee"));
    }
    return head;
}

Result<LogEntry> parse_log(const json& object) {
    LogEntry entry;
    TRY_ASSIGN(const json* address, member(object, "address"));
    TRY_ASSIGN(entry.address, fixed<Address>(*address, "a log's address"));
    TRY_ASSIGN(const json* topics, member(object, "topics"));
    if (!topics->is_array() || topics->size() > 4) return nonsense("a log's topics");
    for (const json& topic : *topics) {
        TRY_ASSIGN(const Hash32 value, fixed<Hash32>(topic, "a log's topic"));
        entry.topics.push_back(value);
    }
    TRY_ASSIGN(const json* data, member(object, "data"));
    TRY_ASSIGN(entry.data, bytes(*data, kDataBytes, "a log's data"));
    TRY_ASSIGN(const json* number, member(object, "blockNumber"));
    TRY_ASSIGN(entry.block_number, quantity64(*number, "a log's block number"));
    TRY_ASSIGN(const json* block, member(object, "blockHash"));
    TRY_ASSIGN(entry.block_hash, fixed<Hash32>(*block, "a log's block"));
    TRY_ASSIGN(const json* hash, member(object, "transactionHash"));
    TRY_ASSIGN(entry.transaction_hash, fixed<Hash32>(*hash, "a log's transaction"));
    TRY_ASSIGN(const json* index, member(object, "logIndex"));
    TRY_ASSIGN(entry.log_index, quantity64(*index, "a log's index"));
    if (const auto removed = object.find("removed"); removed != object.end() && *removed != false)
        return nonsense("a log that was removed");
    return entry;
}

Result<std::optional<TransactionReceipt>> parse_receipt(const json& object, const Hash32& asked) {
    if (object.is_null()) return std::nullopt;
    TransactionReceipt receipt;
    TRY_ASSIGN(const json* number, member(object, "blockNumber"));
    if (number->is_null()) return std::nullopt;  // pending, in some nodes
    TRY_ASSIGN(receipt.block_number, quantity64(*number, "a receipt's block number"));
    TRY_ASSIGN(const json* hash, member(object, "transactionHash"));
    TRY_ASSIGN(receipt.transaction_hash, fixed<Hash32>(*hash, "a receipt's transaction"));
    if (receipt.transaction_hash != asked) return nonsense("the receipt of another transaction");
    TRY_ASSIGN(const json* block, member(object, "blockHash"));
    TRY_ASSIGN(receipt.block_hash, fixed<Hash32>(*block, "a receipt's block"));
    TRY_ASSIGN(const json* status, member(object, "status"));
    TRY_ASSIGN(const std::uint64_t code, quantity64(*status, "a receipt's status"));
    if (code > 1) return nonsense("a receipt's status");
    receipt.succeeded = code == 1;
    TRY_ASSIGN(const json* gas, member(object, "gasUsed"));
    TRY_ASSIGN(receipt.gas_used, quantity64(*gas, "a receipt's gas"));
    if (const auto price = object.find("effectiveGasPrice"); price != object.end()) {
        TRY_ASSIGN(receipt.effective_gas_price, quantity(*price, "a receipt's gas price"));
    }
    if (const auto created = object.find("contractAddress");
        created != object.end() && !created->is_null()) {
        TRY_ASSIGN(receipt.contract_address, fixed<Address>(*created, "a receipt's contract"));
    }
    TRY_ASSIGN(const json* logs, member(object, "logs"));
    if (!logs->is_array() || logs->size() > kReceiptLogs) return nonsense("a receipt's logs");
    for (const json& item : *logs) {
        TRY_ASSIGN(LogEntry entry, parse_log(item));
        if (entry.transaction_hash != asked || entry.block_hash != receipt.block_hash)
            return nonsense("a log of another transaction");
        receipt.logs.push_back(std::move(entry));
    }
    return receipt;
}

/// Checks that an answer to eth_getLogs holds only what was asked for, in order.
Result<void> check_logs(const std::vector<LogEntry>& entries, const LogFilter& filter) {
    const auto holds = [](const auto& list, const auto& value) {
        return list.empty() || std::find(list.begin(), list.end(), value) != list.end();
    };
    const LogEntry* before = nullptr;
    for (const LogEntry& entry : entries) {
        if (entry.block_number < filter.from_block || entry.block_number > filter.to_block)
            return nonsense("a log outside the blocks asked for");
        if (!holds(filter.addresses, entry.address))
            return nonsense("a log of a contract not asked for");
        const std::vector<Hash32>* wanted[] = {&filter.topic0, &filter.topic1, &filter.topic2};
        for (std::size_t i = 0; i < std::size(wanted); ++i)
            if (!wanted[i]->empty() &&
                (entry.topics.size() <= i || !holds(*wanted[i], entry.topics[i])))
                return nonsense("a log of an event not asked for");
        if (before != nullptr && std::pair(before->block_number, before->log_index) >=
                                     std::pair(entry.block_number, entry.log_index))
            return nonsense("logs out of order");
        before = &entry;
    }
    return {};
}

json to_json(const LogFilter& filter) {
    json out = json::object();
    out["fromBlock"] = eth::to_quantity(U256(filter.from_block));
    out["toBlock"] = eth::to_quantity(U256(filter.to_block));
    json addresses = json::array();
    for (const Address& address : filter.addresses)
        addresses.push_back(base::to_hex(address));
    out["address"] = std::move(addresses);
    json topics = json::array();
    for (const auto* wanted : {&filter.topic0, &filter.topic1, &filter.topic2}) {
        json any = wanted->empty() ? json(nullptr) : json::array();
        for (const Hash32& topic : *wanted)
            any.push_back(base::to_hex(topic));
        topics.push_back(std::move(any));
    }
    while (!topics.empty() && topics.back().is_null())
        topics.erase(topics.size() - 1);
    if (!topics.empty()) out["topics"] = std::move(topics);
    return out;
}

}  // namespace

EthClient::EthClient(std::string url, HttpLimits limits, EthClientOptions options)
    : EthClient(std::make_unique<HttpRpcTransport>(std::move(url), limits), options) {}

EthClient::EthClient(std::unique_ptr<RpcTransport> transport, EthClientOptions options)
    : client_(std::move(transport)), options_(options) {}

Result<json> EthClient::raw_call(std::string_view method, json params) {
    return client_.call(method, std::move(params));
}

Result<std::uint64_t> EthClient::chain_id() {
    TRY_ASSIGN(const json answer, client_.call("eth_chainId", json::array()));
    return quantity64(answer, "the chain id");
}

Result<std::uint64_t> EthClient::block_number() {
    TRY_ASSIGN(const json answer, client_.call("eth_blockNumber", json::array()));
    return quantity64(answer, "the block number");
}

Result<BlockHead> EthClient::block(BlockTag tag) {
    json params = json::array();
    params.push_back(to_json(tag));
    params.push_back(false);
    TRY_ASSIGN(const json answer, client_.call("eth_getBlockByNumber", std::move(params)));
    if (answer.is_null()) return fail(ErrorCode::not_found, "no such block");
    TRY_ASSIGN(BlockHead head, parse_block(answer));
    if (tag.name() == BlockTag::Name::kNumber && head.number != tag.value())
        return nonsense("another block than asked for");
    return head;
}

Result<U256> EthClient::balance(const Address& account, BlockTag at) {
    json params = json::array();
    params.push_back(base::to_hex(account));
    params.push_back(to_json(at));
    TRY_ASSIGN(const json answer, client_.call("eth_getBalance", std::move(params)));
    return quantity(answer, "a balance");
}

Result<std::uint64_t> EthClient::nonce(const Address& account, BlockTag at) {
    json params = json::array();
    params.push_back(base::to_hex(account));
    params.push_back(to_json(at));
    TRY_ASSIGN(const json answer, client_.call("eth_getTransactionCount", std::move(params)));
    return quantity64(answer, "a nonce");
}

Result<Bytes> EthClient::code(const Address& account, BlockTag at) {
    json params = json::array();
    params.push_back(base::to_hex(account));
    params.push_back(to_json(at));
    TRY_ASSIGN(const json answer, client_.call("eth_getCode", std::move(params)));
    return bytes(answer, kCodeBytes, "a contract's code");
}

Result<Bytes> EthClient::call(const CallRequest& request, BlockTag at) {
    json params = json::array();
    params.push_back(to_json(request));
    params.push_back(to_json(at));
    TRY_ASSIGN(const json answer, client_.call("eth_call", std::move(params)));
    return bytes(answer, kDataBytes, "a call's result");
}

Result<std::uint64_t> EthClient::estimate_gas(const CallRequest& request) {
    json params = json::array();
    params.push_back(to_json(request));
    TRY_ASSIGN(const json answer, client_.call("eth_estimateGas", std::move(params)));
    return quantity64(answer, "a gas estimate");
}

Result<FeeSuggestion> EthClient::suggest_fees() {
    FeeSuggestion fees;
    TRY_ASSIGN(const BlockHead head, block(BlockTag::Name::kLatest));
    fees.base_fee_per_gas = head.base_fee_per_gas;
    const auto tip = client_.call("eth_maxPriorityFeePerGas", json::array());
    if (tip) {
        TRY_ASSIGN(fees.max_priority_fee_per_gas, quantity(*tip, "a priority fee"));
    } else if (tip.error().code() == ErrorCode::chain_unreachable ||
               tip.error().code() == ErrorCode::chain_refused) {
        fees.max_priority_fee_per_gas = kFallbackPriorityFee;  // some nodes lack the method
    } else {
        return tl::make_unexpected(tip.error());
    }
    const U256 absurd = U256(1) << 128;
    if (fees.base_fee_per_gas >= absurd || fees.max_priority_fee_per_gas >= absurd)
        return nonsense("fees beyond reason");
    fees.max_fee_per_gas = fees.base_fee_per_gas * 2 + fees.max_priority_fee_per_gas;
    return fees;
}

Result<Hash32> EthClient::send_raw(base::ByteView raw) {
    const Hash32 expected = eth::transaction_hash(raw);
    json params = json::array();
    params.push_back(base::to_hex(raw));
    const auto answer = client_.call("eth_sendRawTransaction", std::move(params));
    if (!answer) {
        const base::Error& error = answer.error();
        if (error.code() == ErrorCode::chain_refused && error.detail() == "already known")
            return expected;
        return tl::make_unexpected(error);
    }
    TRY_ASSIGN(const Hash32 hash, fixed<Hash32>(*answer, "a transaction hash"));
    if (hash != expected) return nonsense("the hash of another transaction");
    return hash;
}

Result<std::optional<TransactionReceipt>> EthClient::receipt(const Hash32& transaction_hash) {
    json params = json::array();
    params.push_back(base::to_hex(transaction_hash));
    TRY_ASSIGN(const json answer, client_.call("eth_getTransactionReceipt", std::move(params)));
    return parse_receipt(answer, transaction_hash);
}

Result<std::vector<LogEntry>> EthClient::logs(const LogFilter& filter) {
    std::vector<LogEntry> all;
    std::uint64_t chunk = std::max<std::uint64_t>(1, options_.log_chunk_blocks);
    std::uint64_t next = filter.from_block;
    while (next <= filter.to_block) {
        LogFilter part = filter;
        part.from_block = next;
        part.to_block = next + std::min(chunk - 1, filter.to_block - next);
        json params = json::array();
        params.push_back(to_json(part));
        const auto answer = client_.call("eth_getLogs", std::move(params));
        if (!answer) {
            // Nodes refuse ranges with too many results in many words: ask for less.
            const bool single = part.from_block == part.to_block;
            const bool unasked = answer.error().code() == ErrorCode::timeout;
            if (single || unasked) return tl::make_unexpected(answer.error());
            chunk = (part.to_block - part.from_block + 1) / 2;
            continue;
        }
        if (!answer->is_array()) return nonsense("logs that are not a list");
        std::vector<LogEntry> entries;
        for (const json& item : *answer) {
            TRY_ASSIGN(LogEntry entry, parse_log(item));
            entries.push_back(std::move(entry));
        }
        TRY(check_logs(entries, part));
        if (all.size() + entries.size() > options_.log_entries_max)
            return fail(ErrorCode::too_large,
                        "more events than " + std::to_string(options_.log_entries_max));
        std::move(entries.begin(), entries.end(), std::back_inserter(all));
        if (part.to_block == UINT64_MAX) break;
        next = part.to_block + 1;
    }
    return all;
}

}  // namespace ledger::rpc

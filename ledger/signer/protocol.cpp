// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/protocol.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <initializer_list>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;
using nlohmann::json;

namespace {

constexpr rpc::JsonLimits kLimits{kLineBytes, 3, 32};
constexpr std::size_t kDataBytes = 400 * 1024;

Result<void> only_fields(const json& object, std::initializer_list<std::string_view> names) {
    for (const auto& [name, value] : object.items())
        if (std::find(names.begin(), names.end(), name) == names.end())
            return fail(ErrorCode::unknown_field, name);
    return {};
}

template <typename Fixed>
Result<Fixed> fixed_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const std::string text, rpc::string_at(object, name));
    auto value = base::parse_fixed<Fixed>(text);
    if (!value) return fail(ErrorCode::invalid_field, std::string(name));
    return *value;
}

Result<eth::U256> u256_at(const json& object, std::string_view name) {
    TRY_ASSIGN(const std::string text, rpc::string_at(object, name));
    auto value = eth::parse_decimal(text);
    if (!value) return fail(ErrorCode::invalid_field, std::string(name));
    return *value;
}

void put_domain(json& out, const eth::Domain& domain) {
    out["chain_id"] = std::to_string(domain.chain_id);
    out["contract"] = base::to_hex(domain.contract);
}

Result<eth::Domain> domain_in(const json& object) {
    eth::Domain domain;
    TRY_ASSIGN(domain.chain_id, rpc::u64_text_at(object, "chain_id"));
    TRY_ASSIGN(domain.contract, fixed_at<base::Address>(object, "contract"));
    return domain;
}

json to_json(const ListAddresses&) {
    return json{{"op", "addresses"}};
}

json to_json(const SignTransaction& request) {
    const eth::Transaction& transaction = request.transaction;
    json out = json::object();
    out["op"] = "sign_transaction";
    out["from"] = base::to_hex(request.from);
    out["chain_id"] = std::to_string(transaction.chain_id);
    out["nonce"] = std::to_string(transaction.nonce);
    out["max_priority_fee_per_gas"] = eth::to_decimal(transaction.max_priority_fee_per_gas);
    out["max_fee_per_gas"] = eth::to_decimal(transaction.max_fee_per_gas);
    out["gas_limit"] = std::to_string(transaction.gas_limit);
    if (transaction.to) out["to"] = base::to_hex(*transaction.to);
    out["value"] = eth::to_decimal(transaction.value);
    out["data"] = base::to_hex(transaction.data);
    return out;
}

json to_json(const eth::Ask& ask) {
    return {{"provider", base::to_hex(ask.provider)},
            {"resource_hash", base::to_hex(ask.resource_hash)},
            {"unit_kind", std::string(to_string(ask.unit_kind))},
            {"price", std::to_string(ask.price_atoms)},
            {"min_units", std::to_string(ask.min_units)},
            {"max_units", std::to_string(ask.max_units)},
            {"order_class", std::string(to_string(ask.order_class))},
            {"reclaim_window", std::to_string(ask.reclaim_window_s)},
            {"earliest", std::to_string(ask.earliest_s)},
            {"expiry", std::to_string(ask.expiry_s)},
            {"volume", std::to_string(ask.volume_units)},
            {"matcher", base::to_hex(ask.matcher)},
            {"salt", base::to_hex(ask.salt)}};
}

Result<eth::Ask> ask_in(const json& object) {
    if (!object.is_object()) return fail(ErrorCode::invalid_field, "ask");
    TRY(only_fields(object, {"provider", "resource_hash", "unit_kind", "price", "min_units",
                             "max_units", "order_class", "reclaim_window", "earliest", "expiry",
                             "volume", "matcher", "salt"}));
    eth::Ask ask;
    TRY_ASSIGN(ask.provider, fixed_at<base::Address>(object, "provider"));
    TRY_ASSIGN(ask.resource_hash, fixed_at<base::Hash32>(object, "resource_hash"));
    TRY_ASSIGN(const std::string kind, rpc::string_at(object, "unit_kind"));
    TRY_ASSIGN(ask.unit_kind, eth::parse_unit_kind(kind));
    TRY_ASSIGN(ask.price_atoms, rpc::u64_text_at(object, "price"));
    TRY_ASSIGN(ask.min_units, rpc::u64_text_at(object, "min_units"));
    TRY_ASSIGN(ask.max_units, rpc::u64_text_at(object, "max_units"));
    TRY_ASSIGN(const std::string order_class, rpc::string_at(object, "order_class"));
    TRY_ASSIGN(ask.order_class, eth::parse_order_class(order_class));
    TRY_ASSIGN(const std::uint64_t window, rpc::u64_text_at(object, "reclaim_window"));
    if (window > UINT32_MAX) return fail(ErrorCode::invalid_field, "reclaim_window");
    ask.reclaim_window_s = static_cast<std::uint32_t>(window);
    TRY_ASSIGN(ask.earliest_s, rpc::u64_text_at(object, "earliest"));
    TRY_ASSIGN(ask.expiry_s, rpc::u64_text_at(object, "expiry"));
    TRY_ASSIGN(ask.volume_units, rpc::u64_text_at(object, "volume"));
    TRY_ASSIGN(ask.matcher, fixed_at<base::Address>(object, "matcher"));
    TRY_ASSIGN(ask.salt, fixed_at<base::Hash32>(object, "salt"));
    return ask;
}

json to_json(const SignVoucher& request) {
    json out = json::object();
    out["op"] = "sign_voucher";
    out["signer"] = base::to_hex(request.signer);
    put_domain(out, request.domain);
    out["lease"] = base::to_hex(request.voucher.lease);
    out["sequence"] = std::to_string(request.voucher.sequence);
    out["cumulative_units"] = std::to_string(request.voucher.cumulative_units);
    out["cumulative_amount"] = std::to_string(request.voucher.cumulative_amount_atoms);
    out["receipts_root"] = base::to_hex(request.voucher.receipts_root);
    out["ask"] = to_json(request.origin.ask);
    out["bid_hash"] = base::to_hex(request.origin.bid_hash);
    out["index"] = std::to_string(request.origin.index);
    return out;
}

json to_json(const SignObjection& request) {
    json out = json::object();
    out["op"] = "sign_objection";
    out["signer"] = base::to_hex(request.signer);
    put_domain(out, request.domain);
    out["lease"] = base::to_hex(request.objection.lease);
    out["receipt"] = base::to_hex(request.objection.receipt);
    return out;
}

json to_json(const SignTreeHead& request) {
    json out = json::object();
    out["op"] = "sign_tree_head";
    out["signer"] = base::to_hex(request.signer);
    put_domain(out, request.domain);
    out["size"] = std::to_string(request.head.size);
    out["root"] = base::to_hex(request.head.root);
    out["time_ms"] = std::to_string(request.head.time_ms);
    return out;
}

Result<Request> transaction_in(const json& object) {
    TRY(only_fields(object, {"op", "from", "chain_id", "nonce", "max_priority_fee_per_gas",
                             "max_fee_per_gas", "gas_limit", "to", "value", "data"}));
    SignTransaction request;
    eth::Transaction& transaction = request.transaction;
    TRY_ASSIGN(request.from, fixed_at<base::Address>(object, "from"));
    TRY_ASSIGN(transaction.chain_id, rpc::u64_text_at(object, "chain_id"));
    TRY_ASSIGN(transaction.nonce, rpc::u64_text_at(object, "nonce"));
    TRY_ASSIGN(transaction.max_priority_fee_per_gas, u256_at(object, "max_priority_fee_per_gas"));
    TRY_ASSIGN(transaction.max_fee_per_gas, u256_at(object, "max_fee_per_gas"));
    TRY_ASSIGN(transaction.gas_limit, rpc::u64_text_at(object, "gas_limit"));
    if (object.contains("to")) {
        TRY_ASSIGN(transaction.to, fixed_at<base::Address>(object, "to"));
    }
    TRY_ASSIGN(transaction.value, u256_at(object, "value"));
    TRY_ASSIGN(const std::string data, rpc::string_at(object, "data"));
    auto bytes = base::parse_hex(data, kDataBytes);
    if (!bytes) return fail(ErrorCode::invalid_field, "data");
    transaction.data = std::move(*bytes);
    return request;
}

Result<Request> voucher_in(const json& object) {
    TRY(only_fields(
        object, {"op", "signer", "chain_id", "contract", "lease", "sequence", "cumulative_units",
                 "cumulative_amount", "receipts_root", "ask", "bid_hash", "index"}));
    SignVoucher request;
    eth::Voucher& voucher = request.voucher;
    TRY_ASSIGN(request.signer, fixed_at<base::Address>(object, "signer"));
    TRY_ASSIGN(request.domain, domain_in(object));
    TRY_ASSIGN(voucher.lease, fixed_at<base::Hash32>(object, "lease"));
    TRY_ASSIGN(voucher.sequence, rpc::u64_text_at(object, "sequence"));
    TRY_ASSIGN(voucher.cumulative_units, rpc::u64_text_at(object, "cumulative_units"));
    TRY_ASSIGN(voucher.cumulative_amount_atoms, rpc::u64_text_at(object, "cumulative_amount"));
    TRY_ASSIGN(voucher.receipts_root, fixed_at<base::Hash32>(object, "receipts_root"));
    TRY_ASSIGN(const json* ask, rpc::member_at(object, "ask"));
    TRY_ASSIGN(request.origin.ask, ask_in(*ask));
    TRY_ASSIGN(request.origin.bid_hash, fixed_at<base::Hash32>(object, "bid_hash"));
    TRY_ASSIGN(request.origin.index, rpc::u64_text_at(object, "index"));
    return request;
}

Result<Request> objection_in(const json& object) {
    TRY(only_fields(object, {"op", "signer", "chain_id", "contract", "lease", "receipt"}));
    SignObjection request;
    TRY_ASSIGN(request.signer, fixed_at<base::Address>(object, "signer"));
    TRY_ASSIGN(request.domain, domain_in(object));
    TRY_ASSIGN(request.objection.lease, fixed_at<base::Hash32>(object, "lease"));
    TRY_ASSIGN(request.objection.receipt, fixed_at<base::Hash32>(object, "receipt"));
    return request;
}

Result<Request> tree_head_in(const json& object) {
    TRY(only_fields(object, {"op", "signer", "chain_id", "contract", "size", "root", "time_ms"}));
    SignTreeHead request;
    TRY_ASSIGN(request.signer, fixed_at<base::Address>(object, "signer"));
    TRY_ASSIGN(request.domain, domain_in(object));
    TRY_ASSIGN(request.head.size, rpc::u64_text_at(object, "size"));
    TRY_ASSIGN(request.head.root, fixed_at<base::Hash32>(object, "root"));
    TRY_ASSIGN(request.head.time_ms, rpc::u64_text_at(object, "time_ms"));
    return request;
}

}  // namespace

std::string encode_request(const Request& request) {
    return rpc::to_text(std::visit([](const auto& value) { return to_json(value); }, request));
}

Result<Request> decode_request(std::string_view line) {
    TRY_ASSIGN(const json object, rpc::parse_json(line, kLimits));
    TRY_ASSIGN(const std::string op, rpc::string_at(object, "op"));
    if (op == "addresses") {
        TRY(only_fields(object, {"op"}));
        return ListAddresses{};
    }
    if (op == "sign_transaction") return transaction_in(object);
    if (op == "sign_voucher") return voucher_in(object);
    if (op == "sign_tree_head") return tree_head_in(object);
    if (op == "sign_objection") return objection_in(object);
    return fail(ErrorCode::unsupported, "the operation is not one of this signer");
}

std::string encode_answer(const Result<Answer>& answer) {
    json out = json::object();
    out["ok"] = answer.has_value();
    if (answer) {
        json addresses = json::array();
        for (const base::Address& address : answer->addresses)
            addresses.push_back(base::to_hex(address));
        out["addresses"] = std::move(addresses);
        out["bytes"] = base::to_hex(answer->bytes);
    } else {
        out["code"] = std::string(base::to_string(answer.error().code()));
        out["detail"] = answer.error().detail();
    }
    return rpc::to_text(out);
}

namespace {

Result<Answer> answer_in(const json& object) {
    TRY_ASSIGN(const bool ok, rpc::boolean_at(object, "ok"));
    if (!ok) {
        TRY_ASSIGN(const std::string name, rpc::string_at(object, "code"));
        TRY_ASSIGN(const std::string detail, rpc::string_at(object, "detail"));
        const auto code = base::parse_error_code(name);
        return fail(code.value_or(ErrorCode::internal), detail);
    }
    Answer answer;
    TRY_ASSIGN(const json* addresses, rpc::member_at(object, "addresses"));
    if (!addresses->is_array() || addresses->size() > 1000)
        return fail(ErrorCode::invalid_field, "addresses");
    for (const json& item : *addresses) {
        if (!item.is_string()) return fail(ErrorCode::invalid_field, "addresses");
        TRY_ASSIGN(const base::Address address,
                   base::parse_fixed<base::Address>(item.get_ref<const std::string&>()));
        answer.addresses.push_back(address);
    }
    TRY_ASSIGN(const std::string bytes, rpc::string_at(object, "bytes"));
    TRY_ASSIGN(answer.bytes, base::parse_hex(bytes, kDataBytes + 4096));
    return answer;
}

}  // namespace

Result<Answer> decode_answer(std::string_view line) {
    TRY_ASSIGN(const json object, rpc::parse_json(line, kLimits));
    return answer_in(object);
}

}  // namespace ledger::signer

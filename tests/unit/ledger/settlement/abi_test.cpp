// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/abi.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/json.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/leases_abi.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "ledger/settlement/receipt_log_abi.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <set>
#include <string>

using namespace ledger::settlement;  // NOLINT: the room under test
using ledger::base::Bytes;
using nlohmann::json;

namespace {

std::string type_of(const json& input) {
    const std::string type = input["type"];
    if (!type.starts_with("tuple")) return type;
    std::string out = "(";
    for (const json& part : input["components"])
        out += (out.size() > 1 ? "," : "") + type_of(part);
    return out + ")" + type.substr(5);
}

/// Signatures of one kind ("function", "event", "error") in a contract's committed ABI.
std::set<std::string> signatures(const std::string& contract, const std::string& kind) {
    std::ifstream file("contracts/abi/" + contract + ".json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto parsed = ledger::rpc::parse_json(text);
    REQUIRE_MESSAGE(parsed, contract);
    const json& list = parsed->is_array() ? *parsed : (*parsed)["abi"];
    std::set<std::string> out;
    for (const json& entry : list) {
        if (entry["type"] != kind) continue;
        std::string signature = entry["name"].get<std::string>() + "(";
        for (const json& input : entry["inputs"])
            signature += (signature.back() == '(' ? "" : ",") + type_of(input);
        out.insert(signature + ")");
    }
    return out;
}

/// The contract's function a call goes to; empty when it has none of this selector.
std::string function_of(const std::string& contract, const Bytes& call) {
    for (const std::string& signature : signatures(contract, "function")) {
        const auto selector = ledger::eth::abi::selector(signature);
        if (std::equal(selector.begin(), selector.end(), call.begin()))
            return signature.substr(0, signature.find('('));
    }
    return "";
}

}  // namespace

TEST_CASE("abi: every call of ours is a function of the contract it goes to") {
    const ledger::base::Address someone;
    const ledger::base::Signature signature;
    CHECK(function_of("Leases", encode_open({OpenItem{}})) == "open");
    CHECK(function_of("Leases", encode_claim({ClaimItem{}})) == "claim");
    CHECK(function_of("Leases", encode_request_close({CloseItem{}})) == "requestClose");
    CHECK(function_of("Leases", encode_finalize_close({FinalItem{}})) == "finalizeClose");
    CHECK(function_of("Leases", encode_claim_alone({LoneItem{}})) == "claimAlone");
    CHECK(function_of("Leases", encode_object_to({ObjectionItem{}})) == "objectTo");
    CHECK(function_of("Leases", encode_pay_alone({FinalItem{}})) == "payAlone");
    CHECK(function_of("Leases", encode_revoke_delegations()) == "revokeDelegations");
    CHECK(function_of("Leases", encode_cancel_ask({})) == "cancelAsk");
    CHECK(function_of("Leases", encode_cancel_bid({})) == "cancelBid");
    CHECK(function_of("Escrow", encode_deposit(someone, 1)) == "deposit");
    CHECK(function_of("Escrow", encode_deposit_with_permit(someone, 1, 2, signature)) ==
          "depositWithPermit");
    CHECK(function_of("Escrow", encode_request_withdraw(1)) == "requestWithdraw");
    CHECK(function_of("Escrow", encode_cancel_withdraw()) == "cancelWithdraw");
    CHECK(function_of("Escrow", encode_withdraw()) == "withdraw");
    CHECK(function_of("Escrow", encode_sweep(someone)) == "sweep");
    CHECK(function_of("SettlementToken", encode_approve(someone, 1)) == "approve");
    CHECK(function_of("SettlementToken", encode_transfer(someone, 1)) == "transfer");
    CHECK(function_of("SettlementToken", encode_mint(someone, 1)) == "mint");
    CHECK(function_of("Providers", encode_register(someone, signature, 1)) == "register");
    CHECK(function_of("Providers", encode_add_worker_key(someone, signature)) == "addWorkerKey");
    CHECK(function_of("Providers", encode_revoke_worker_key(someone)) == "revokeWorkerKey");
    CHECK(function_of("Providers", encode_add_bond(1)) == "addBond");
    CHECK(function_of("Providers", encode_request_unbond(1)) == "requestUnbond");
    CHECK(function_of("Providers", encode_unbond()) == "unbond");
    CHECK(function_of("ReceiptLog", encode_anchor({}, {}, signature, {})) == "anchor");
}

TEST_CASE("abi: every error of the contracts has its name") {
    for (const char* contract :
         {"Leases", "Escrow", "Providers", "ReceiptLog", "Treasury", "Disputes"}) {
        for (const std::string& signature : signatures(contract, "error")) {
            // Dynamic arguments: only constructors throw these.
            if (signature == "StringTooLong(string)" || signature == "InvalidShortString()" ||
                signature == "OwnableInvalidOwner(address)")
                continue;
            const auto selector = ledger::eth::abi::selector(signature);
            Bytes data(selector.begin(), selector.end());
            data.resize(4 + 32 * 4);
            const std::string name = signature.substr(0, signature.find('(') + 1);
            CAPTURE(contract);
            CHECK_MESSAGE(explain_revert(data).starts_with(name), signature);
        }
    }
}

TEST_CASE("abi: reverts without a known reason keep their bytes, and text is made printable") {
    CHECK(explain_revert(Bytes{}) == "no reason given");
    CHECK(explain_revert(Bytes{1, 2}) == "0x0102");
    CHECK(explain_revert(Bytes{1, 2, 3, 4, 5}) == "0x0102030405");
    const auto selector = ledger::eth::abi::selector("Error(string)");
    Bytes text(selector.begin(), selector.end());
    ledger::base::append(
        text, ledger::eth::abi::Encoder().bytes(ledger::base::as_bytes("bad\nthing")).finish());
    CHECK(explain_revert(text) == "bad?thing");
    text.resize(20);
    CHECK(explain_revert(text) == "Error(?)");
    const auto free = ledger::eth::abi::selector("InsufficientFree(uint64,uint64)");
    const Bytes short_data(free.begin(), free.end());
    CHECK(explain_revert(short_data) == "InsufficientFree(?, ?)");
}

TEST_CASE("abi: an order cancelled on chain is read from event and error") {
    ledger::base::Hash32 order;
    order.data()[0] = 7;
    ledger::rpc::LogEntry entry;
    entry.topics = {ledger::eth::abi::event_topic("OrderCancelled(bytes32,address)"), order, {}};
    entry.topics[2].data()[31] = 9;
    const auto event = decode_leases_event(entry);
    REQUIRE(event);
    const auto& cancelled = std::get<OrderCancelled>(event->value());
    CHECK(cancelled.order == order);
    CHECK(cancelled.by.data()[19] == 9);
    entry.topics[2].data()[0] = 1;  // no address
    CHECK(decode_leases_event(entry).error().code() == ledger::base::ErrorCode::chain_bad_answer);

    const auto selector = ledger::eth::abi::selector("OrderIsCancelled(bytes32)");
    Bytes reason(selector.begin(), selector.end());
    ledger::base::append(reason, order.span());
    CHECK(cancelled_order(reason) == order);
    reason.push_back(0);
    CHECK(!cancelled_order(reason));
    CHECK(!cancelled_order({}));
    reason.pop_back();
    reason[0] ^= 1;
    CHECK(!cancelled_order(reason));
}

TEST_CASE("abi: a lease's name is the hash of its key") {
    LeaseKey key;
    key.ask_hash.data()[0] = 1;
    key.bid_hash.data()[0] = 2;
    key.index = 3;
    // cast keccak $(cast abi-encode "f(bytes32,bytes32,uint64)" 0x01… 0x02… 3)
    CHECK(ledger::base::to_hex(lease_id(key)) ==
          "0xb5c5680502a6d456ba83029b9f8d5f9788beab91831d43e703fa40e1d2886efd");
    LeaseKey other = key;
    other.index = 4;
    CHECK(lease_id(other) != lease_id(key));
}

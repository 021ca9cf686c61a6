// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/messages.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>

using namespace ledger::base;
using namespace ledger::eth;
using nlohmann::json;

namespace {

std::uint64_t number(const json& object, const char* name) {
    const json& value = object.at(name);
    return value.is_string() ? *parse_u64(value.get<std::string>()) : value.get<std::uint64_t>();
}
Hash32 hash(const json& object, const char* name) {
    return *parse_fixed<Hash32>(object.at(name).get<std::string>());
}
Address address(const json& object, const char* name) {
    return *parse_fixed<Address>(object.at(name).get<std::string>());
}
template <typename Enum>
Enum enumeration(const json& object, const char* name) {
    return static_cast<Enum>(number(object, name));
}

Hash32 struct_hash_of(const std::string& type, const json& m) {
    if (type == "Ask")
        return struct_hash(
            Ask{address(m, "provider"), hash(m, "resourceHash"),
                enumeration<UnitKind>(m, "unitKind"), number(m, "price"), number(m, "minUnits"),
                number(m, "maxUnits"), enumeration<OrderClass>(m, "orderClass"),
                static_cast<std::uint32_t>(number(m, "reclaimWindow")), number(m, "earliest"),
                number(m, "expiry"), number(m, "volume"), address(m, "matcher"), hash(m, "salt")});
    if (type == "Bid")
        return struct_hash(Bid{address(m, "buyer"), hash(m, "jobSpecHash"),
                               enumeration<UnitKind>(m, "unitKind"), number(m, "priceCeiling"),
                               number(m, "maxAmount"), hash(m, "constraintsHash"),
                               enumeration<OrderClass>(m, "orderClass"),
                               static_cast<std::uint8_t>(number(m, "verificationTier")),
                               number(m, "earliest"), number(m, "deadline"), number(m, "expiry"),
                               number(m, "volume"), address(m, "matcher"), hash(m, "salt")});
    if (type == "Delegation")
        return struct_hash(Delegation{address(m, "owner"), address(m, "delegate"),
                                      static_cast<std::uint8_t>(number(m, "scope")),
                                      number(m, "spendCap"), number(m, "expiry"),
                                      number(m, "nonce")});
    if (type == "Receipt")
        return struct_hash(Receipt{
            hash(m, "lease"), number(m, "sequence"), hash(m, "previous"),
            enumeration<UnitKind>(m, "unitKind"), number(m, "cumulativeUnits"), number(m, "price"),
            number(m, "cumulativeAmount"), hash(m, "modelHash"), hash(m, "requestHash"),
            hash(m, "responseHash"), number(m, "startMs"), number(m, "endMs")});
    if (type == "Voucher")
        return struct_hash(Voucher{hash(m, "lease"), number(m, "sequence"),
                                   number(m, "cumulativeUnits"), number(m, "cumulativeAmount"),
                                   hash(m, "receiptsRoot")});
    if (type == "Objection") return struct_hash(Objection{hash(m, "lease"), hash(m, "receipt")});
    REQUIRE(type == "TreeHead");
    return struct_hash(TreeHead{number(m, "size"), hash(m, "root"), number(m, "timeMs")});
}

}  // namespace

TEST_CASE("messages: the bill is rounded up once, on the running total") {
    CHECK(*amount_for(UnitKind::kOutputToken, 0, 500) == 0);
    CHECK(*amount_for(UnitKind::kOutputToken, 1, 1) == 1);
    CHECK(*amount_for(UnitKind::kOutputToken, 1'000'000, 1) == 1);
    CHECK(*amount_for(UnitKind::kOutputToken, 1'000'001, 1) == 2);
    CHECK(*amount_for(UnitKind::kTrainingStep, 300, 200) == 60'000);
    CHECK(amount_for(UnitKind::kTrainingStep, 1ULL << 63, 2).error().code() ==
          ErrorCode::out_of_range);
    CHECK(amount_for(UnitKind::kTrainingStep, 1ULL << 63, 1).error().code() ==
          ErrorCode::out_of_range);
}

TEST_CASE("messages: names round trip, others are refused") {
    for (std::uint8_t i = 0; i < kUnitKindCount; ++i)
        CHECK(*parse_unit_kind(to_string(static_cast<UnitKind>(i))) == static_cast<UnitKind>(i));
    for (std::uint8_t i = 0; i < kOrderClassCount; ++i)
        CHECK(*parse_order_class(to_string(static_cast<OrderClass>(i))) ==
              static_cast<OrderClass>(i));
    CHECK(!parse_unit_kind("gpu-hour"));
    CHECK(!parse_order_class(""));
}

TEST_CASE("messages: golden vectors hash, sign and recover as viem does") {
    std::ifstream file("tests/vectors/eip712.json");
    REQUIRE_MESSAGE(file, "tests/vectors/eip712.json is missing");
    const json vectors = json::parse(file);
    REQUIRE(vectors.size() >= 30);
    for (const json& v : vectors) {
        INFO(v.at("name").get<std::string>());
        const Domain domain{number(v.at("domain"), "chainId"),
                            address(v.at("domain"), "verifyingContract")};
        const Hash32 message_hash = struct_hash_of(v.at("primaryType"), v.at("message"));
        const Hash32 expected = hash(v, "digest");
        REQUIRE(typed_digest(domain_separator(domain), message_hash) == expected);
        const auto signature = parse_fixed<Signature>(v.at("signature").get<std::string>());
        REQUIRE(signature);
        CHECK(ledger::crypto::verify(expected, *signature, address(v, "signer")));
        // Another chain or contract gives another digest.
        CHECK(typed_digest(domain_separator({domain.chain_id + 1, domain.contract}),
                           message_hash) != expected);
    }
}

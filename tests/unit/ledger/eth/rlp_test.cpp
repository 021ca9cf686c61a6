// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/rlp.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

using namespace ledger::base;
using namespace ledger::eth;

namespace {
std::string encoded(std::string_view text) {
    Bytes out;
    rlp::encode_bytes(out, as_bytes(text));
    return to_hex(out);
}
std::string encoded_uint(const U256& value) {
    Bytes out;
    rlp::encode_uint(out, value);
    return to_hex(out);
}
bool decodes(std::string_view hex) {
    const Bytes bytes = *parse_hex(hex, 1000);
    ByteView view(bytes);
    return rlp::decode_item(view).has_value() && view.empty();
}
}  // namespace

TEST_CASE("rlp: non-canonical and short forms are refused") {
    for (const char* hex : {"0x", "0x81", "0x8100", "0x817f", "0x83646f", "0xb800", "0xb80100",
                            "0xb90001", "0xbf0fffffffffffffff", "0xbfffffffffffffffff", "0xc3646f",
                            "0xf800", "0xff8000000000000000"})
        CHECK_MESSAGE(!decodes(hex), hex);
}

TEST_CASE("rlp: vectors of the Ethereum wiki") {
    CHECK(encoded("dog") == "0x83646f67");
    CHECK(encoded("") == "0x80");
    CHECK(encoded("\x0f") == "0x0f");
    CHECK(
        encoded("Lorem ipsum dolor sit amet, consectetur adipisicing elit").starts_with("0xb838"));
    CHECK(encoded_uint(0) == "0x80");
    CHECK(encoded_uint(15) == "0x0f");
    CHECK(encoded_uint(1024) == "0x820400");
    CHECK(to_hex(rlp::encode_list({})) == "0xc0");
}

TEST_CASE("rlp: lists decode into their items") {
    Bytes payload;
    rlp::encode_bytes(payload, as_bytes("cat"));
    rlp::encode_uint(payload, 300);
    const Bytes list = rlp::encode_list(payload);
    ByteView view(list);
    const auto item = rlp::decode_item(view);
    REQUIRE(item);
    CHECK(item->kind == rlp::Item::Kind::kList);
    const auto items = rlp::decode_items(item->payload);
    REQUIRE(items);
    REQUIRE(items->size() == 2);
    CHECK(as_text((*items)[0].payload) == "cat");
    CHECK(*rlp::to_uint((*items)[1]) == 300);
}

TEST_CASE("u256: quantities are strict") {
    for (const char* text : {"", "0x", "10", "0x01", "0x00", "0xg",
                             "0x10000000000000000000000000000000000000000000000000000000000000000"})
        CHECK_MESSAGE(!parse_quantity(text), text);
    CHECK(*parse_quantity("0x0") == 0);
    CHECK(*parse_quantity("0x1f") == 31);
    CHECK(to_quantity(U256(31)) == "0x1f");
    CHECK(to_quantity(U256(0)) == "0x0");
    CHECK(!parse_decimal(
        "115792089237316195423570985008687907853269984665640564039457584007913129639936"));
    const auto most = parse_decimal(
        "115792089237316195423570985008687907853269984665640564039457584007913129639935");
    REQUIRE(most);
    CHECK(to_be32(*most)[0] == 0xff);
    CHECK(from_be(to_be32(*most)) == *most);
    CHECK(to_u64(*most).error().code() == ErrorCode::out_of_range);
}

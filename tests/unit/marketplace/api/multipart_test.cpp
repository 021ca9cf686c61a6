// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/multipart.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace marketplace::api;
using ledger::base::ErrorCode;

namespace {

constexpr const char* kType = "multipart/form-data; boundary=\"a b\"";

std::string part(const std::string& head, const std::string& content) {
    return "--a b\r\n" + head + "\r\n\r\n" + content + "\r\n";
}
const std::string kNamed = "Content-Disposition: form-data; name=\"x\"";

}  // namespace

TEST_CASE("multipart: broken forms are refused") {
    const auto code = [](const std::string& type, const std::string& body) {
        const auto parts = parse_form(type, body);
        REQUIRE_FALSE(parts.has_value());
        return parts.error().code();
    };
    const std::string end = "--a b--\r\n";
    for (const std::string& type :
         {std::string("application/json"), std::string(), std::string("multipart/form-data"),
          "multipart/form-data; boundary=" + std::string(71, 'b')})
        CHECK(code(type, part(kNamed, "1") + end) == ErrorCode::invalid_request);
    std::string many;
    for (int i = 0; i < 33; ++i)
        many += part(kNamed, "1");
    for (const std::string& body :
         {std::string(), std::string("--a b"), std::string("--a b\r\n"), part(kNamed, "1"),
          part("Content-Type: text/plain", "1") + end, "junk" + part(kNamed, "1") + end,
          "--a b\r\n" + kNamed + std::string(9000, ' ') + "\r\n\r\n1\r\n" + end, many + end})
        CHECK(code(kType, body) == ErrorCode::invalid_request);
}

TEST_CASE("multipart: parts come with names, file names and bytes as they are") {
    const std::string bytes("a\r\n--a\0b\r\n\r\n", 12);
    const std::string body =
        part("content-disposition: form-data; name=purpose", "fine-tune") +
        part(
            "Content-Type: text/plain\r\nContent-Disposition: form-data; filename=\"q\\\"; "
            "name=no.jsonl\"; name=\"file\"",
            bytes) +
        "--a b--\r\nepilogue";
    const auto parts = parse_form(kType, body);
    REQUIRE_MESSAGE(parts.has_value(), parts.error().message());
    REQUIRE(parts->size() == 2);
    CHECK((*parts)[0].name == "purpose");
    CHECK((*parts)[0].content == "fine-tune");
    CHECK_FALSE((*parts)[0].filename.has_value());
    CHECK((*parts)[1].filename == "q\"; name=no.jsonl");
    CHECK((*parts)[1].name == "file");
    CHECK((*parts)[1].content == bytes);
    CHECK(parse_form("multipart/form-data; boundary=z", "--z--")->empty());
}

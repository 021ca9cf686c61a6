// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/base64.hpp"

#include <doctest/doctest.h>

namespace ledger::base {

TEST_CASE("base64: only the one text of some bytes is taken") {
    for (const char* text : {"Zg", "Zg=", "Zg===", "Z===", "====", "Zh==", "Zm9=", "Zm 9", "Zm-_",
                             "Zg==Zg==", "=Zg=", "Zm9v\n"})
        CHECK_MESSAGE(parse_base64(text).error().code() == ErrorCode::invalid_encoding, text);
}

TEST_CASE("base64: the vectors of RFC 4648, there and back") {
    const std::pair<std::string_view, std::string_view> vectors[] = {{"", ""},
                                                                     {"f", "Zg=="},
                                                                     {"fo", "Zm8="},
                                                                     {"foo", "Zm9v"},
                                                                     {"foob", "Zm9vYg=="},
                                                                     {"fooba", "Zm9vYmE="},
                                                                     {"foobar", "Zm9vYmFy"}};
    for (const auto& [plain, text] : vectors) {
        CHECK(to_base64(as_bytes(plain)) == text);
        CHECK(as_text(*parse_base64(text)) == plain);
    }
}

}  // namespace ledger::base

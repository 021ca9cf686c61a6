// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/log_format.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

using marketplace::app::json_escaped;

TEST_CASE("log_format: whatever a message holds, the line stays one JSON string") {
    std::string all;
    for (int c = 0; c < 0x80; ++c)
        all += static_cast<char>(c);
    for (const std::string& text : {all, std::string("a \"quoted\" \\ thing\n\tmore"),
                                    std::string("</script>"), std::string("\xc3\xa9")}) {
        const std::string line = "\"" + json_escaped(text) + "\"";
        CHECK(line.find('\n') == std::string::npos);
        CHECK(nlohmann::json::parse(line) == text);
    }
}

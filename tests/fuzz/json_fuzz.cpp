// SPDX-License-Identifier: Apache-2.0
// What is read can be written and read again to the same; nothing else gets in.
#include "ledger/base/check.hpp"
#include "ledger/rpc/json.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto parsed = ledger::rpc::parse_json(text, {1 << 16, 32, 1000});
    if (!parsed) return 0;
    const std::string written = ledger::rpc::to_text(*parsed);
    const auto again = ledger::rpc::parse_json(written, {1 << 20, 32, 1000});
    MR_CHECK(again.has_value());
    MR_CHECK(ledger::rpc::to_text(*again) == written);
    return 0;
}

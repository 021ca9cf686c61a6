// SPDX-License-Identifier: Apache-2.0
// A record of the public log has one form: bytes that decode are what encoding gives again.
#include "ledger/base/check.hpp"
#include "marketplace/engine/journal.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ledger::base::ByteView input(data, size);
    const auto record = marketplace::engine::decode_record(input);
    if (!record) return 0;
    const ledger::base::Bytes again = marketplace::engine::encode_record(*record);
    MR_CHECK(std::equal(again.begin(), again.end(), input.begin(), input.end()));
    return 0;
}

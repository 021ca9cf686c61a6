// SPDX-License-Identifier: Apache-2.0
// No bytes make the decoder read outside them; views it returns lie inside.
#include "ledger/base/check.hpp"
#include "ledger/eth/abi.hpp"

#include <cstddef>
#include <cstdint>

using ledger::base::ByteView;
using ledger::eth::abi::Decoder;

namespace {

void touch(ByteView view, ByteView input) {
    if (view.empty()) return;
    MR_CHECK(view.data() >= input.data());
    MR_CHECK(view.data() + view.size() <= input.data() + input.size());
}

void read_all(ByteView part, ByteView input, int depth) {
    const Decoder decoder(part);
    for (std::size_t slot = 0; slot < 16; ++slot) {
        static_cast<void>(decoder.word(slot));
        static_cast<void>(decoder.uint(slot));
        static_cast<void>(decoder.u64(slot));
        static_cast<void>(decoder.address(slot));
        static_cast<void>(decoder.boolean(slot));
        if (const auto bytes = decoder.bytes(slot)) touch(*bytes, input);
        if (const auto tail = decoder.tail(slot)) {
            touch(*tail, input);
            if (depth > 0) read_all(*tail, input, depth - 1);
        }
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    read_all(input, input, 1);
    static_cast<void>(Decoder(input).word(SIZE_MAX));
    static_cast<void>(Decoder(input).tail(SIZE_MAX / 32));
    return 0;
}

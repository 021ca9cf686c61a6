// SPDX-License-Identifier: Apache-2.0
// RLP items decode to what encodes to the same bytes; signed transactions have one form.
#include "ledger/base/check.hpp"
#include "ledger/eth/rlp.hpp"
#include "ledger/eth/transaction.hpp"

#include <cstddef>
#include <cstdint>

using ledger::base::Bytes;
using ledger::base::ByteView;
namespace rlp = ledger::eth::rlp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const ByteView input(data, size);
    ByteView rest = input;
    if (const auto item = rlp::decode_item(rest)) {
        Bytes again;
        if (item->kind == rlp::Item::Kind::kString)
            rlp::encode_bytes(again, item->payload);
        else
            again = rlp::encode_list(item->payload);
        const ByteView consumed = input.first(input.size() - rest.size());
        MR_CHECK(std::equal(again.begin(), again.end(), consumed.begin(), consumed.end()));
        if (const auto number = rlp::to_uint(*item)) {
            Bytes encoded;
            rlp::encode_uint(encoded, *number);
            MR_CHECK(std::equal(encoded.begin(), encoded.end(), consumed.begin(), consumed.end()));
        }
        static_cast<void>(rlp::decode_items(item->payload));
    }
    if (const auto decoded = ledger::eth::decode_signed(input)) {
        const Bytes again = encode_signed(decoded->transaction, decoded->signature);
        MR_CHECK(std::equal(again.begin(), again.end(), input.begin(), input.end()));
    }
    return 0;
}

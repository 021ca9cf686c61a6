// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/disputes_abi.hpp"

#include "ledger/eth/abi.hpp"

namespace ledger::settlement {

using base::Bytes;
using eth::abi::Encoder;

namespace {

Bytes encode(const eth::Receipt& receipt) {
    return Encoder()
        .word(receipt.lease)
        .uint(receipt.sequence)
        .word(receipt.previous)
        .uint(static_cast<std::uint64_t>(receipt.unit_kind))
        .uint(receipt.cumulative_units)
        .uint(receipt.price_atoms)
        .uint(receipt.cumulative_amount_atoms)
        .word(receipt.model_hash)
        .word(receipt.request_hash)
        .word(receipt.response_hash)
        .uint(receipt.start_ms)
        .uint(receipt.end_ms)
        .finish();
}

}  // namespace

Bytes encode_prove_equivocation(const Parties& parties, const WorkerReceipt& first,
                                const WorkerReceipt& second) {
    Encoder arguments;
    arguments.word(first.receipt.lease).inline_static(settlement::encode(parties));
    for (const WorkerReceipt* one : {&first, &second})
        arguments.inline_static(encode(one->receipt)).bytes(one->signature.span());
    return eth::abi::encode_call(
        "proveEquivocation(bytes32,(address,address,address,address),"
        "(bytes32,uint64,bytes32,uint8,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,uint64),"
        "bytes,"
        "(bytes32,uint64,bytes32,uint8,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,uint64),"
        "bytes)",
        arguments);
}

}  // namespace ledger::settlement

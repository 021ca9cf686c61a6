// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/disputes_abi.hpp"

#include "ledger/eth/abi.hpp"

namespace ledger::settlement {

using base::Bytes;
using eth::abi::Encoder;

Bytes encode_prove_equivocation(const Parties& parties, const WorkerReceipt& first,
                                const WorkerReceipt& second) {
    Encoder arguments;
    arguments.word(first.receipt.lease).inline_static(settlement::encode(parties));
    for (const WorkerReceipt* one : {&first, &second})
        arguments.inline_static(settlement::encode(one->receipt)).bytes(one->signature.span());
    return eth::abi::encode_call(
        "proveEquivocation(bytes32,(address,address,address,address),"
        "(bytes32,uint64,bytes32,uint8,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,uint64),"
        "bytes,"
        "(bytes32,uint64,bytes32,uint8,uint64,uint64,uint64,bytes32,bytes32,bytes32,uint64,uint64),"
        "bytes)",
        arguments);
}

}  // namespace ledger::settlement

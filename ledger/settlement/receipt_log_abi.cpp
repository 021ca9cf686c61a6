// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/receipt_log_abi.hpp"

#include "ledger/eth/abi.hpp"
#include "ledger/settlement/abi_support.hpp"

namespace ledger::settlement {

using base::Bytes;
using base::Hash32;
using base::Result;
using eth::abi::Decoder;
using eth::abi::Encoder;

Bytes encode_anchor(const eth::TreeHead& head, const base::Signature& operator_signature,
                    const std::vector<Hash32>& proof) {
    std::vector<Bytes> steps;
    steps.reserve(proof.size());
    for (const Hash32& step : proof)
        steps.emplace_back(step.begin(), step.end());
    Encoder arguments;
    arguments.inline_static(Encoder().uint(head.size).word(head.root).uint(head.time_ms).finish());
    arguments.bytes(operator_signature.span());
    arguments.dynamic(eth::abi::encode_static_array(steps));
    return eth::abi::encode_call("anchor((uint64,bytes32,uint64),bytes,bytes32[])", arguments);
}

Result<std::optional<Anchored>> decode_receipt_log_event(const rpc::LogEntry& entry) {
    static const Hash32 kTopic = eth::abi::event_topic("Anchored(uint64,bytes32,uint64)");
    if (!detail::is_event(entry, kTopic, 1)) return std::nullopt;
    Anchored event;
    TRY_ASSIGN(event.head.size, detail::as_answer(Decoder(entry.topics[1].span()).u64(0)));
    TRY_ASSIGN(event.head.root, detail::as_answer(Decoder(entry.data).word(0)));
    TRY_ASSIGN(event.head.time_ms, detail::as_answer(Decoder(entry.data).u64(1)));
    return event;
}

Result<eth::TreeHead> read_latest_head(rpc::Chain& chain, const base::Address& receipt_log,
                                       rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer, detail::view(chain, receipt_log, "latest()", Encoder(), at));
    const Decoder decoder(answer);
    eth::TreeHead head;
    TRY_ASSIGN(head.size, detail::as_answer(decoder.u64(0)));
    TRY_ASSIGN(head.root, detail::as_answer(decoder.word(1)));
    TRY_ASSIGN(head.time_ms, detail::as_answer(decoder.u64(2)));
    return head;
}

}  // namespace ledger::settlement

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

namespace {

Bytes encode(const eth::TreeHead& head) {
    return Encoder().uint(head.size).word(head.root).uint(head.time_ms).finish();
}

}  // namespace

Bytes encode_anchor(const eth::TreeHead& last, const eth::TreeHead& head,
                    const std::optional<base::Signature>& operator_signature,
                    const std::vector<Hash32>& proof) {
    std::vector<Bytes> steps;
    steps.reserve(proof.size());
    for (const Hash32& step : proof)
        steps.emplace_back(step.begin(), step.end());
    Encoder arguments;
    arguments.inline_static(encode(last)).inline_static(encode(head));
    arguments.bytes(operator_signature ? operator_signature->span() : base::ByteView());
    arguments.dynamic(eth::abi::encode_static_array(steps));
    return eth::abi::encode_call(
        "anchor((uint64,bytes32,uint64),(uint64,bytes32,uint64),bytes,bytes32[])", arguments);
}

namespace {

const Hash32& anchored_topic() {
    static const Hash32 topic = eth::abi::event_topic("Anchored(uint64,bytes32,uint64)");
    return topic;
}

}  // namespace

Result<std::optional<Anchored>> decode_receipt_log_event(const rpc::LogEntry& entry) {
    if (!detail::is_event(entry, anchored_topic(), 1)) return std::nullopt;
    Anchored event;
    TRY_ASSIGN(event.head.size, detail::as_answer(Decoder(entry.topics[1].span()).u64(0)));
    TRY_ASSIGN(event.head.root, detail::as_answer(Decoder(entry.data).word(0)));
    TRY_ASSIGN(event.head.time_ms, detail::as_answer(Decoder(entry.data).u64(1)));
    return event;
}

Result<eth::TreeHead> read_latest_head(rpc::Chain& chain, const base::Address& receipt_log,
                                       std::uint64_t from_block) {
    TRY_ASSIGN(const rpc::BlockHead now, chain.block(rpc::BlockTag::Name::kLatest));
    rpc::LogFilter filter;
    filter.from_block = from_block;
    filter.to_block = now.number;
    filter.addresses = {receipt_log};
    filter.topic0 = {anchored_topic()};
    eth::TreeHead head;
    if (from_block <= now.number) {
        TRY_ASSIGN(const std::vector<rpc::LogEntry> entries, chain.logs(filter));
        if (!entries.empty()) {
            TRY_ASSIGN(const auto event, decode_receipt_log_event(entries.back()));
            if (!event) return base::fail(base::ErrorCode::chain_bad_answer, "an anchored head");
            head = event->head;
        }
    }
    TRY_ASSIGN(const Bytes answer, detail::view(chain, receipt_log, "latest()", Encoder(),
                                                rpc::BlockTag::number(now.number)));
    TRY_ASSIGN(const Hash32 stored, detail::as_answer(Decoder(answer).word(0)));
    if (stored != (head.size == 0 ? Hash32() : eth::struct_hash(head)))
        return base::fail(base::ErrorCode::chain_unreachable,
                          "the node's events and state are not of one history");
    return head;
}

}  // namespace ledger::settlement

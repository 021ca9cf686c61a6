// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/abi_support.hpp"

namespace ledger::settlement::detail {

base::Result<base::Bytes> view(rpc::Chain& chain, const base::Address& contract,
                               std::string_view signature, const eth::abi::Encoder& arguments,
                               rpc::BlockTag at) {
    rpc::CallRequest request;
    request.to = contract;
    request.data = eth::abi::encode_call(signature, arguments);
    TRY_ASSIGN(base::Bytes answer, chain.call(request, at));
    if (answer.empty())
        return base::fail(base::ErrorCode::chain_mismatch,
                          "no such contract stands at the deployment's address");
    return answer;
}

bool is_event(const rpc::LogEntry& entry, const base::Hash32& topic, std::size_t indexed) {
    return entry.topics.size() == indexed + 1 && entry.topics.front() == topic;
}

base::Result<base::Address> topic_address(const rpc::LogEntry& entry, std::size_t index) {
    if (index >= entry.topics.size())
        return base::fail(base::ErrorCode::chain_bad_answer, "an event without its topics");
    return as_answer(eth::abi::Decoder(entry.topics[index].span()).address(0));
}

}  // namespace ledger::settlement::detail

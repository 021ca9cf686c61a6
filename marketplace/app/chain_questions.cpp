// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/chain_questions.hpp"

#include "ledger/eth/abi.hpp"
#include "ledger/settlement/leases_abi.hpp"

#include <algorithm>
#include <array>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::Result;

Result<bool> ChainQuestions::accepts_signature(const domain::Address& account,
                                               const domain::Hash32& digest,
                                               ledger::base::ByteView signature) {
    ledger::eth::abi::Encoder arguments;
    arguments.word(digest).bytes(signature);
    ledger::rpc::CallRequest question;
    question.to = account;
    question.data = ledger::eth::abi::encode_call("isValidSignature(bytes32,bytes)", arguments);
    const auto answer = chain_.call(question, ledger::rpc::BlockTag::Name::kLatest);
    // A wallet that reverts says no; an account without code answers with nothing.
    if (!answer && answer.error().code() == ErrorCode::chain_refused) return false;
    if (!answer) return tl::make_unexpected(answer.error());
    // ERC-1271: the function's own selector, padded to a word.
    std::array<std::uint8_t, 32> accepted{0x16, 0x26, 0xba, 0x7e};
    return std::equal(answer->begin(), answer->end(), accepted.begin(), accepted.end());
}

Result<std::uint64_t> ChainQuestions::delegation_nonce(const domain::Address& owner) {
    return ledger::settlement::read_delegation_nonce(chain_, leases_, owner,
                                                     ledger::rpc::BlockTag::Name::kLatest);
}

}  // namespace marketplace::app

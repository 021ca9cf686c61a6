// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/permit2_abi.hpp"

#include "ledger/eth/upto_permit.hpp"
#include "ledger/settlement/abi_support.hpp"

#include <string>

namespace ledger::settlement {

using base::Address;
using base::Bytes;
using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Result;
using eth::abi::Decoder;
using eth::abi::Encoder;
using rpc::BlockTag;

namespace {

constexpr BlockTag::Name kLatest = BlockTag::Name::kLatest;

/// A contract that does not have the function is another one.
Result<Bytes> ask(rpc::Chain& chain, const Address& contract, const std::string& name) {
    auto answer = detail::view(chain, contract, name + "()", Encoder(), kLatest);
    if (answer || answer.error().code() != ErrorCode::chain_refused) return answer;
    return fail(ErrorCode::chain_mismatch, "the contract has no " + name);
}

}  // namespace

Result<void> check_upto_contracts(rpc::Chain& chain, const Address& permit2, const Address& proxy,
                                  std::uint64_t chain_id) {
    for (const Address& contract : {permit2, proxy}) {
        TRY_ASSIGN(const Bytes code, chain.code(contract, kLatest));
        if (code.empty())
            return fail(ErrorCode::chain_mismatch, contract == permit2 ? "the chain has no Permit2"
                                                                       : "the chain has no proxy");
    }
    TRY_ASSIGN(const Bytes domain, ask(chain, permit2, "DOMAIN_SEPARATOR"));
    const auto separator = Decoder(domain).word(0);
    if (!separator || *separator != eth::permit2_separator(chain_id, permit2))
        return fail(ErrorCode::chain_mismatch, "Permit2 has another signing domain");
    TRY_ASSIGN(const Bytes named, ask(chain, proxy, "PERMIT2"));
    const auto used = Decoder(named).address(0);
    if (!used || *used != permit2)
        return fail(ErrorCode::chain_mismatch, "the proxy uses another Permit2");
    TRY_ASSIGN(const Bytes type, ask(chain, proxy, "WITNESS_TYPEHASH"));
    const auto witness = Decoder(type).word(0);
    if (!witness || *witness != eth::upto_witness_type())
        return fail(ErrorCode::chain_mismatch, "the proxy has payers sign something else");
    return {};
}

Result<bool> is_permit2_nonce_used(rpc::Chain& chain, const Address& permit2, const Address& payer,
                                   const eth::U256& nonce) {
    Encoder arguments;
    arguments.address(payer).uint(nonce / 256U);
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, permit2, "nonceBitmap(address,uint256)", arguments, kLatest));
    TRY_ASSIGN(const Hash32 word, detail::as_answer(Decoder(answer).word(0)));
    const auto bit = static_cast<std::size_t>((nonce % 256U).limbs()[3]);
    return (word.data()[31 - bit / 8] >> (bit % 8) & 1) != 0;
}

}  // namespace ledger::settlement

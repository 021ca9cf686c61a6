// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/transfer_authorization.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/messages.hpp"

namespace ledger::eth {

using base::as_bytes;
using base::Hash32;
using crypto::keccak256;

namespace {

void add_fields(abi::Encoder& out, const TransferAuthorization& authorization) {
    out.address(authorization.from).address(authorization.to).uint(authorization.value);
    out.uint(authorization.valid_after_s).uint(authorization.valid_before_s);
    out.word(authorization.nonce);
}

}  // namespace

Hash32 token_separator(std::string_view name, std::string_view version, std::uint64_t chain_id,
                       const base::Address& token) {
    abi::Encoder fields;
    fields.word(keccak256(as_bytes(
        "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")));
    fields.word(keccak256(as_bytes(name))).word(keccak256(as_bytes(version)));
    fields.uint(chain_id).address(token);
    return keccak256(fields.finish());
}

Hash32 digest(const Hash32& token_separator, const TransferAuthorization& authorization) {
    abi::Encoder fields;
    fields.word(
        keccak256(as_bytes("TransferWithAuthorization(address from,address to,uint256 value,"
                           "uint256 validAfter,uint256 validBefore,bytes32 nonce)")));
    add_fields(fields, authorization);
    return typed_digest(token_separator, keccak256(fields.finish()));
}

base::Bytes encode_transfer_with_authorization(const TransferAuthorization& authorization,
                                               const base::Signature& signature) {
    abi::Encoder arguments;
    add_fields(arguments, authorization);
    arguments.uint(std::uint64_t{signature.data()[64]});
    arguments.word(Hash32(signature.span().subspan<0, 32>()));
    arguments.word(Hash32(signature.span().subspan<32, 32>()));
    return abi::encode_call(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,"
        "bytes32)",
        arguments);
}

}  // namespace ledger::eth

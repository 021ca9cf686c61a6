// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/upto_permit.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/messages.hpp"

namespace ledger::eth {

using base::as_bytes;
using base::Hash32;
using crypto::keccak256;

namespace {

Hash32 permitted_hash(const UptoPermit& permit) {
    abi::Encoder fields;
    fields.word(keccak256(as_bytes("TokenPermissions(address token,uint256 amount)")));
    fields.address(permit.token).uint(permit.amount_max);
    return keccak256(fields.finish());
}

Hash32 witness_hash(const UptoPermit& permit) {
    abi::Encoder fields;
    fields.word(upto_witness_type()).address(permit.receiver).address(permit.facilitator);
    fields.uint(permit.valid_after_s);
    return keccak256(fields.finish());
}

}  // namespace

Hash32 permit2_separator(std::uint64_t chain_id, const base::Address& permit2) {
    abi::Encoder fields;
    fields.word(
        keccak256(as_bytes("EIP712Domain(string name,uint256 chainId,address verifyingContract)")));
    fields.word(keccak256(as_bytes("Permit2"))).uint(chain_id).address(permit2);
    return keccak256(fields.finish());
}

Hash32 upto_witness_type() {
    return keccak256(as_bytes("Witness(address to,address facilitator,uint256 validAfter)"));
}

Hash32 digest(const Hash32& permit2_separator, const UptoPermit& permit) {
    abi::Encoder fields;
    fields.word(keccak256(as_bytes(
        "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,"
        "uint256 deadline,Witness witness)TokenPermissions(address token,uint256 amount)"
        "Witness(address to,address facilitator,uint256 validAfter)")));
    fields.word(permitted_hash(permit)).address(permit.spender).uint(permit.nonce);
    fields.uint(permit.deadline_s).word(witness_hash(permit));
    return typed_digest(permit2_separator, keccak256(fields.finish()));
}

base::Bytes encode_upto_settle(const UptoPermit& permit, const U256& amount,
                               const base::Signature& signature) {
    abi::Encoder arguments;
    arguments.address(permit.token).uint(permit.amount_max);
    arguments.uint(permit.nonce).uint(permit.deadline_s);
    arguments.uint(amount).address(permit.payer);
    arguments.address(permit.receiver).address(permit.facilitator).uint(permit.valid_after_s);
    arguments.bytes(signature.span());
    return abi::encode_call(kUptoSettle, arguments);
}

}  // namespace ledger::eth

// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/providers_abi.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/settlement/abi_support.hpp"

namespace ledger::settlement {

using base::Address;
using base::Bytes;
using base::Result;
using eth::abi::Decoder;
using eth::abi::encode_call;
using eth::abi::Encoder;

base::Signature sign_worker_proof(const crypto::PrivateKey& worker_key, std::uint64_t chain_id,
                                  const Address& providers, const Address& provider) {
    Encoder fields;
    fields.bytes(base::as_bytes("millrace.worker"));
    fields.uint(chain_id).address(providers).address(provider);
    const base::Hash32 statement = crypto::keccak256(fields.finish());
    return worker_key.sign(
        crypto::personal_digest(base::as_text(base::ByteView(statement.data(), 32))));
}

Bytes encode_register(const Address& worker_key, const base::Signature& worker_proof,
                      std::uint64_t bond_atoms) {
    Encoder arguments;
    arguments.address(worker_key).bytes(worker_proof.span()).uint(bond_atoms);
    return encode_call("register(address,bytes,uint256)", arguments);
}

Bytes encode_add_worker_key(const Address& worker_key, const base::Signature& worker_proof) {
    return encode_call("addWorkerKey(address,bytes)",
                       Encoder().address(worker_key).bytes(worker_proof.span()));
}

Bytes encode_revoke_worker_key(const Address& worker_key) {
    return encode_call("revokeWorkerKey(address)", Encoder().address(worker_key));
}

Bytes encode_add_bond(std::uint64_t amount_atoms) {
    return encode_call("addBond(uint256)", Encoder().uint(amount_atoms));
}

Bytes encode_request_unbond(std::uint64_t amount_atoms) {
    return encode_call("requestUnbond(uint256)", Encoder().uint(amount_atoms));
}

Bytes encode_unbond() {
    return encode_call("unbond()", Encoder());
}

Result<Address> read_worker_of(rpc::Chain& chain, const Address& providers,
                               const Address& worker_key, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer, detail::view(chain, providers, "workerOf(address)",
                                                Encoder().address(worker_key), at));
    return detail::as_answer(Decoder(answer).address(0));
}

Result<bool> read_is_active(rpc::Chain& chain, const Address& providers, const Address& provider,
                            const Address& worker_key, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, providers, "isActive(address,address)",
                            Encoder().address(provider).address(worker_key), at));
    return detail::as_answer(Decoder(answer).boolean(0));
}

Result<std::uint64_t> read_bond_of(rpc::Chain& chain, const Address& providers,
                                   const Address& provider, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, providers, "bondOf(address)", Encoder().address(provider), at));
    return detail::as_answer(Decoder(answer).u64(0));
}

}  // namespace ledger::settlement

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/chain.hpp"

#include <cstdint>
#include <optional>
#include <variant>

/// C++ form of contracts/src/interfaces/IProviders.sol.
namespace ledger::settlement {

/// The worker key's proof that it agrees to work for `provider`: an EIP-191 signature over
/// keccak(abi.encode("millrace.worker", chainid, providers, provider)).
[[nodiscard]] base::Signature sign_worker_proof(const crypto::PrivateKey& worker_key,
                                                std::uint64_t chain_id,
                                                const base::Address& providers,
                                                const base::Address& provider);

/// Needs an approval of the bond for Providers first (`encode_approve`).
[[nodiscard]] base::Bytes encode_register(const base::Address& worker_key,
                                          const base::Signature& worker_proof,
                                          std::uint64_t bond_atoms);
[[nodiscard]] base::Bytes encode_add_worker_key(const base::Address& worker_key,
                                                const base::Signature& worker_proof);
[[nodiscard]] base::Bytes encode_revoke_worker_key(const base::Address& worker_key);
[[nodiscard]] base::Bytes encode_add_bond(std::uint64_t amount_atoms);
[[nodiscard]] base::Bytes encode_request_unbond(std::uint64_t amount_atoms);
[[nodiscard]] base::Bytes encode_unbond();

/// The provider a key works for; zero when it is not registered.
[[nodiscard]] base::Result<base::Address> read_worker_of(rpc::Chain& chain,
                                                         const base::Address& providers,
                                                         const base::Address& worker_key,
                                                         rpc::BlockTag at);
[[nodiscard]] base::Result<bool> read_is_active(rpc::Chain& chain, const base::Address& providers,
                                                const base::Address& provider,
                                                const base::Address& worker_key, rpc::BlockTag at);
[[nodiscard]] base::Result<std::uint64_t> read_bond_of(rpc::Chain& chain,
                                                       const base::Address& providers,
                                                       const base::Address& provider,
                                                       rpc::BlockTag at);

}  // namespace ledger::settlement

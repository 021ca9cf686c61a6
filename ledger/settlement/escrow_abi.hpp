// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/u256.hpp"
#include "ledger/rpc/chain.hpp"

#include <cstdint>
#include <optional>
#include <variant>

/// C++ form of contracts/src/interfaces/IEscrow.sol and of the settlement token (ERC-20, EIP-2612).
namespace ledger::settlement {

/// A buyer's or provider's money in escrow.
struct EscrowAccount {
    std::uint64_t free_atoms = 0;         ///< may be locked by new leases or withdrawn
    std::uint64_t locked_atoms = 0;       ///< maxima of leases not closed, with what they paid
    std::uint64_t credit_atoms = 0;       ///< earned, swept out at any time
    std::uint64_t withdrawing_atoms = 0;  ///< leaves after the delay
    std::uint64_t withdrawable_at_s = 0;
};
[[nodiscard]] base::Result<EscrowAccount> read_escrow_account(rpc::Chain& chain,
                                                              const base::Address& escrow,
                                                              const base::Address& account,
                                                              rpc::BlockTag at);
/// Atoms owed to all accounts and leases together.
[[nodiscard]] base::Result<eth::U256> read_liabilities(rpc::Chain& chain,
                                                       const base::Address& escrow,
                                                       rpc::BlockTag at);
/// Token units of one atom: 1 for a token of 6 decimals.
[[nodiscard]] base::Result<eth::U256> read_scale(rpc::Chain& chain, const base::Address& escrow);

// Calls to Escrow.
[[nodiscard]] base::Bytes encode_deposit(const base::Address& account, std::uint64_t amount_atoms);

/// Parts of an EIP-2612 permit: the owner lets the spender take an amount until a deadline.
struct Permit {
    base::Address owner;
    base::Address spender;
    eth::U256 value;
    eth::U256 nonce;
    std::uint64_t deadline_s = 0;
};
/// What the owner signs, for a token with this DOMAIN_SEPARATOR().
[[nodiscard]] base::Hash32 permit_digest(const base::Hash32& token_separator, const Permit& permit);
[[nodiscard]] base::Bytes encode_deposit_with_permit(const base::Address& owner,
                                                     std::uint64_t amount_atoms,
                                                     std::uint64_t deadline_s,
                                                     const base::Signature& permit);
[[nodiscard]] base::Bytes encode_request_withdraw(std::uint64_t amount_atoms);
[[nodiscard]] base::Bytes encode_cancel_withdraw();
[[nodiscard]] base::Bytes encode_withdraw();
[[nodiscard]] base::Bytes encode_sweep(const base::Address& account);

// The token.
[[nodiscard]] base::Bytes encode_approve(const base::Address& spender, const eth::U256& amount);
[[nodiscard]] base::Bytes encode_transfer(const base::Address& to, const eth::U256& amount);
/// Test tokens only.
[[nodiscard]] base::Bytes encode_mint(const base::Address& to, const eth::U256& amount);
[[nodiscard]] base::Result<eth::U256> read_token_balance(rpc::Chain& chain,
                                                         const base::Address& token,
                                                         const base::Address& account,
                                                         rpc::BlockTag at);
/// How much of the owner's money the spender may move.
[[nodiscard]] base::Result<eth::U256> read_token_allowance(rpc::Chain& chain,
                                                           const base::Address& token,
                                                           const base::Address& owner,
                                                           const base::Address& spender);
[[nodiscard]] base::Result<eth::U256> read_token_nonce(rpc::Chain& chain,
                                                       const base::Address& token,
                                                       const base::Address& owner);
[[nodiscard]] base::Result<base::Hash32> read_domain_separator(rpc::Chain& chain,
                                                               const base::Address& contract);
/// Reads the token's domain and the owner's nonce and signs: the call data of a deposit that needs
/// no approval before it.
[[nodiscard]] base::Result<base::Bytes> make_permit_deposit(
    rpc::Chain& chain, const base::Address& token, const base::Address& escrow,
    const crypto::PrivateKey& owner, std::uint64_t amount_atoms, std::uint64_t deadline_s);

// Events of Escrow and of the token.
struct Deposited {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct Locked {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct Unlocked {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct Credited {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct WithdrawRequested {
    base::Address account;
    std::uint64_t amount_atoms = 0;
    std::uint64_t withdrawable_at_s = 0;
};
struct WithdrawCancelled {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct Withdrawn {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
struct Swept {
    base::Address account;
    std::uint64_t amount_atoms = 0;
};
using EscrowEvent = std::variant<Deposited, Locked, Unlocked, Credited, WithdrawRequested,
                                 WithdrawCancelled, Withdrawn, Swept>;
[[nodiscard]] base::Result<std::optional<EscrowEvent>> decode_escrow_event(
    const rpc::LogEntry& entry);

/// ERC-20 Transfer.
struct TokenTransfer {
    base::Address from;
    base::Address to;
    eth::U256 amount;
};
[[nodiscard]] base::Result<std::optional<TokenTransfer>> decode_token_event(
    const rpc::LogEntry& entry);

}  // namespace ledger::settlement

// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/escrow_abi.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/settlement/abi_support.hpp"

namespace ledger::settlement {

using base::Address;
using base::Bytes;
using base::Hash32;
using base::Result;
using eth::U256;
using eth::abi::Decoder;
using eth::abi::encode_call;
using eth::abi::Encoder;

namespace {

Result<EscrowAccount> decode_account(const Decoder& decoder) {
    EscrowAccount account;
    TRY_ASSIGN(account.free_atoms, decoder.u64(0));
    TRY_ASSIGN(account.locked_atoms, decoder.u64(1));
    TRY_ASSIGN(account.credit_atoms, decoder.u64(2));
    TRY_ASSIGN(account.withdrawing_atoms, decoder.u64(3));
    TRY_ASSIGN(account.withdrawable_at_s, decoder.u64(4));
    return account;
}

Result<U256> read_uint(rpc::Chain& chain, const Address& contract, std::string_view signature,
                       const Encoder& arguments, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer, detail::view(chain, contract, signature, arguments, at));
    return detail::as_answer(Decoder(answer).uint(0));
}

}  // namespace

Result<EscrowAccount> read_escrow_account(rpc::Chain& chain, const Address& escrow,
                                          const Address& account, rpc::BlockTag at) {
    TRY_ASSIGN(const Bytes answer,
               detail::view(chain, escrow, "accounts(address)", Encoder().address(account), at));
    return detail::as_answer(decode_account(Decoder(answer)));
}

Result<U256> read_liabilities(rpc::Chain& chain, const Address& escrow, rpc::BlockTag at) {
    return read_uint(chain, escrow, "liabilities()", Encoder(), at);
}

Result<U256> read_scale(rpc::Chain& chain, const Address& escrow) {
    return read_uint(chain, escrow, "scale()", Encoder(), rpc::BlockTag::Name::kLatest);
}

Bytes encode_deposit(const Address& account, std::uint64_t amount_atoms) {
    return encode_call("deposit(address,uint64)", Encoder().address(account).uint(amount_atoms));
}

Hash32 permit_digest(const Hash32& token_separator, const Permit& permit) {
    Encoder fields;
    fields.word(crypto::keccak256(base::as_bytes(
        "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)")));
    fields.address(permit.owner).address(permit.spender);
    fields.uint(permit.value).uint(permit.nonce).uint(permit.deadline_s);
    return eth::typed_digest(token_separator, crypto::keccak256(fields.finish()));
}

Bytes encode_deposit_with_permit(const Address& owner, std::uint64_t amount_atoms,
                                 std::uint64_t deadline_s, const base::Signature& permit) {
    Encoder arguments;
    arguments.address(owner).uint(amount_atoms).uint(deadline_s);
    arguments.uint(std::uint64_t{permit.data()[64]});
    arguments.word(Hash32(permit.span().subspan<0, 32>()));
    arguments.word(Hash32(permit.span().subspan<32, 32>()));
    return encode_call("depositWithPermit(address,uint64,uint256,uint8,bytes32,bytes32)",
                       arguments);
}

Bytes encode_request_withdraw(std::uint64_t amount_atoms) {
    return encode_call("requestWithdraw(uint64)", Encoder().uint(amount_atoms));
}

Bytes encode_cancel_withdraw() {
    return encode_call("cancelWithdraw()", Encoder());
}

Bytes encode_withdraw() {
    return encode_call("withdraw()", Encoder());
}

Bytes encode_sweep(const Address& account) {
    return encode_call("sweep(address)", Encoder().address(account));
}

Bytes encode_approve(const Address& spender, const U256& amount) {
    return encode_call("approve(address,uint256)", Encoder().address(spender).uint(amount));
}

Bytes encode_transfer(const Address& to, const U256& amount) {
    return encode_call("transfer(address,uint256)", Encoder().address(to).uint(amount));
}

Bytes encode_mint(const Address& to, const U256& amount) {
    return encode_call("mint(address,uint256)", Encoder().address(to).uint(amount));
}

Result<U256> read_token_balance(rpc::Chain& chain, const Address& token, const Address& account,
                                rpc::BlockTag at) {
    return read_uint(chain, token, "balanceOf(address)", Encoder().address(account), at);
}

Result<U256> read_token_allowance(rpc::Chain& chain, const Address& token, const Address& owner,
                                  const Address& spender) {
    return read_uint(chain, token, "allowance(address,address)",
                     Encoder().address(owner).address(spender), rpc::BlockTag::Name::kLatest);
}

Result<U256> read_token_nonce(rpc::Chain& chain, const Address& token, const Address& owner) {
    return read_uint(chain, token, "nonces(address)", Encoder().address(owner),
                     rpc::BlockTag::Name::kLatest);
}

Result<Hash32> read_domain_separator(rpc::Chain& chain, const Address& contract) {
    TRY_ASSIGN(const Bytes answer, detail::view(chain, contract, "DOMAIN_SEPARATOR()", Encoder(),
                                                rpc::BlockTag::Name::kLatest));
    return detail::as_answer(Decoder(answer).word(0));
}

Result<Bytes> make_permit_deposit(rpc::Chain& chain, const Address& token, const Address& escrow,
                                  const crypto::PrivateKey& owner, std::uint64_t amount_atoms,
                                  std::uint64_t deadline_s) {
    TRY_ASSIGN(const Hash32 separator, read_domain_separator(chain, token));
    TRY_ASSIGN(const U256 scale, read_scale(chain, escrow));
    if (scale == 0 || scale > U256(1) << 128)
        return base::fail(base::ErrorCode::chain_bad_answer, "the escrow's scale");
    Permit permit;
    permit.owner = owner.address();
    permit.spender = escrow;
    permit.value = scale * amount_atoms;
    TRY_ASSIGN(permit.nonce, read_token_nonce(chain, token, permit.owner));
    permit.deadline_s = deadline_s;
    return encode_deposit_with_permit(permit.owner, amount_atoms, deadline_s,
                                      owner.sign(permit_digest(separator, permit)));
}

// ---- events -----------------------------------------------------------------------------------

namespace {

struct Topics {
    Hash32 deposited = eth::abi::event_topic("Deposited(address,uint64)");
    Hash32 locked = eth::abi::event_topic("Locked(address,uint64)");
    Hash32 unlocked = eth::abi::event_topic("Unlocked(address,uint64)");
    Hash32 credited = eth::abi::event_topic("Credited(address,uint64)");
    Hash32 requested = eth::abi::event_topic("WithdrawRequested(address,uint64,uint64)");
    Hash32 cancelled = eth::abi::event_topic("WithdrawCancelled(address,uint64)");
    Hash32 withdrawn = eth::abi::event_topic("Withdrawn(address,uint64)");
    Hash32 swept = eth::abi::event_topic("Swept(address,uint64)");
    Hash32 transfer = eth::abi::event_topic("Transfer(address,address,uint256)");
};
const Topics& topics() {
    static const Topics instance;
    return instance;
}

template <typename Event>
Result<std::optional<EscrowEvent>> decode_plain(const rpc::LogEntry& entry) {
    Event event;
    TRY_ASSIGN(event.account, detail::topic_address(entry, 1));
    TRY_ASSIGN(event.amount_atoms, detail::as_answer(Decoder(entry.data).u64(0)));
    if constexpr (requires { event.withdrawable_at_s; }) {
        TRY_ASSIGN(event.withdrawable_at_s, detail::as_answer(Decoder(entry.data).u64(1)));
    }
    return EscrowEvent(event);
}

}  // namespace

Result<std::optional<EscrowEvent>> decode_escrow_event(const rpc::LogEntry& entry) {
    const auto is = [&](const Hash32& topic) { return detail::is_event(entry, topic, 1); };
    if (is(topics().deposited)) return decode_plain<Deposited>(entry);
    if (is(topics().locked)) return decode_plain<Locked>(entry);
    if (is(topics().unlocked)) return decode_plain<Unlocked>(entry);
    if (is(topics().credited)) return decode_plain<Credited>(entry);
    if (is(topics().requested)) return decode_plain<WithdrawRequested>(entry);
    if (is(topics().cancelled)) return decode_plain<WithdrawCancelled>(entry);
    if (is(topics().withdrawn)) return decode_plain<Withdrawn>(entry);
    if (is(topics().swept)) return decode_plain<Swept>(entry);
    return std::nullopt;
}

Result<std::optional<TokenTransfer>> decode_token_event(const rpc::LogEntry& entry) {
    if (!detail::is_event(entry, topics().transfer, 2)) return std::nullopt;
    TokenTransfer event;
    TRY_ASSIGN(event.from, detail::topic_address(entry, 1));
    TRY_ASSIGN(event.to, detail::topic_address(entry, 2));
    TRY_ASSIGN(event.amount, detail::as_answer(Decoder(entry.data).uint(0)));
    return event;
}

}  // namespace ledger::settlement

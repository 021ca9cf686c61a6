// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/service.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/base/hex.hpp"

#include <algorithm>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

constexpr std::uint64_t kDayMs = 86'400'000;

tl::unexpected<base::Error> refused(std::string why) {
    return fail(ErrorCode::policy_refused, std::move(why));
}

Answer signature_answer(const base::Signature& signature) {
    return {{}, base::Bytes(signature.begin(), signature.end())};
}

std::string describe(const ListAddresses&) {
    return "addresses";
}
std::string describe(const SignTransaction& request) {
    const base::Bytes& data = request.transaction.data;
    return "transaction nonce " + std::to_string(request.transaction.nonce) + " to " +
           (request.transaction.to ? base::to_hex(*request.transaction.to) : "(create)") +
           " function " +
           base::to_hex(base::ByteView(data).first(std::min<std::size_t>(4, data.size())));
}
std::string describe(const SignVoucher& request) {
    return "voucher " + base::to_hex(request.voucher.lease) + " sequence " +
           std::to_string(request.voucher.sequence) + " amount " +
           std::to_string(request.voucher.cumulative_amount_atoms);
}
std::string describe(const SignObjection& request) {
    return "objection " + base::to_hex(request.objection.lease) + " receipt " +
           base::to_hex(request.objection.receipt);
}
std::string describe(const SignTreeHead& request) {
    return "tree_head " + std::to_string(request.head.size) + " " + base::to_hex(request.head.root);
}

}  // namespace

SignerService::SignerService(std::vector<crypto::PrivateKey> keys, Policy policy, SignatureLog log,
                             const base::Clock& clock)
    : policy_(std::move(policy)), log_(std::move(log)), clock_(clock) {
    for (crypto::PrivateKey& key : keys) {
        const base::Address address = key.address();
        keys_.insert_or_assign(address, std::move(key));
    }
}

Result<Answer> SignerService::handle(const Request& request) {
    auto answer = std::visit([this](const auto& value) { return sign(value); }, request);
    log_.note(clock_.now_ms(),
              std::visit([](const auto& value) { return describe(value); }, request),
              answer ? "done" : answer.error().message());
    return answer;
}

std::string SignerService::handle_line(std::string_view line) {
    const auto request = decode_request(line);
    if (!request) {
        log_.note(clock_.now_ms(), "unreadable request", request.error().message());
        return encode_answer(tl::make_unexpected(request.error()));
    }
    return encode_answer(handle(*request));
}

Result<const crypto::PrivateKey*> SignerService::key_of(const base::Address& address) const {
    const auto found = keys_.find(address);
    if (found == keys_.end())
        return fail(ErrorCode::not_found, "no key for " + base::to_hex(address));
    return &found->second;
}

Result<Answer> SignerService::sign(const ListAddresses&) {
    Answer answer;
    for (const auto& [address, key] : keys_)
        answer.addresses.push_back(address);
    return answer;
}

Result<void> SignerService::check_call(const SignTransaction& request) const {
    const eth::Transaction& transaction = request.transaction;
    if (transaction.chain_id != policy_.chain_id)
        return refused("chain " + std::to_string(transaction.chain_id));
    if (request.from != policy_.transaction_sender)
        return refused("this account does not send transactions");
    if (!transaction.to) return refused("a contract creation");
    if (transaction.value != 0) return refused("a transaction that carries value");
    if (transaction.data.size() < 4) return refused("a call without a function");
    const Selector selector = {transaction.data[0], transaction.data[1], transaction.data[2],
                               transaction.data[3]};
    if (!policy_.allowed_calls.contains({*transaction.to, selector}))
        return refused("this contract and function");
    if (transaction.max_fee_per_gas > policy_.max_fee_per_gas) return refused("the fee per gas");
    if (transaction.gas_limit > policy_.gas_limit_max) return refused("the gas limit");
    return {};
}

Result<Answer> SignerService::sign(const SignTransaction& request) {
    TRY_ASSIGN(const crypto::PrivateKey* key, key_of(request.from));
    TRY(check_call(request));
    const base::TimeMs now = clock_.now_ms();
    if (log_.transactions_on(now / kDayMs) >= policy_.transactions_per_day)
        return refused("the day's number of transactions is used up");
    const base::Hash32 digest = eth::signing_digest(request.transaction);
    TRY(log_.record_transaction(request.from, digest, request.transaction.nonce, now));
    return Answer{{}, eth::encode_signed(request.transaction, key->sign(digest))};
}

Result<void> SignerService::check_domain(const eth::Domain& domain,
                                         const base::Address& contract) const {
    if (domain.chain_id != policy_.chain_id)
        return refused("chain " + std::to_string(domain.chain_id));
    if (domain.contract != contract) return refused("this contract");
    return {};
}

Result<Answer> SignerService::sign(const SignVoucher& request) {
    const eth::Voucher& voucher = request.voucher;
    TRY_ASSIGN(const crypto::PrivateKey* key, key_of(request.signer));
    TRY(check_domain(request.domain, policy_.leases));
    if (!policy_.voucher_signers.contains(request.signer))
        return refused("this account does not sign vouchers");
    const LeaseOrigin& origin = request.origin;
    if (eth::lease_id(eth::struct_hash(origin.ask), origin.bid_hash, origin.index) != voucher.lease)
        return refused("the lease is not of this ask and bid");
    if (voucher.cumulative_amount_atoms > policy_.voucher_atoms_per_lease)
        return refused("the lease's total passes the cap per lease");
    const base::Hash32 digest = eth::digest(request.domain, voucher);
    const LastVoucher last =
        log_.last_voucher(request.signer, voucher.lease).value_or(LastVoucher());
    if (voucher.sequence == last.sequence && digest == last.digest)
        return signature_answer(key->sign(digest));
    if (voucher.sequence == last.sequence && last.sequence != 0)
        return fail(ErrorCode::already_signed_differently,
                    "sequence " + std::to_string(voucher.sequence));
    if (voucher.sequence <= last.sequence)
        return fail(ErrorCode::voucher_not_higher,
                    "sequence " + std::to_string(last.sequence) + " is signed");
    if (voucher.cumulative_amount_atoms < last.amount_atoms ||
        voucher.cumulative_units < last.units)
        return fail(ErrorCode::voucher_not_higher, "the running total falls");
    const base::TimeMs now = clock_.now_ms();
    const base::Address& provider = origin.ask.provider;
    const std::uint64_t added = voucher.cumulative_amount_atoms - last.amount_atoms;
    const auto of_provider =
        base::checked_add(log_.voucher_atoms_on(now / kDayMs, provider), added);
    if (!of_provider || *of_provider > policy_.voucher_atoms_per_provider)
        return refused("the day's amount of vouchers for this provider is used up");
    const auto spent = base::checked_add(log_.voucher_atoms_on(now / kDayMs), added);
    if (!spent || *spent > policy_.voucher_atoms_per_day)
        return refused("the day's amount of vouchers is used up");
    TRY(log_.record_voucher(request.signer, voucher.lease,
                            {voucher.sequence, voucher.cumulative_amount_atoms,
                             voucher.cumulative_units, digest, provider},
                            now));
    return signature_answer(key->sign(digest));
}

Result<Answer> SignerService::sign(const SignTreeHead& request) {
    TRY_ASSIGN(const crypto::PrivateKey* key, key_of(request.signer));
    TRY(check_domain(request.domain, policy_.receipt_log));
    if (request.signer != policy_.tree_head_signer)
        return refused("this account does not sign tree heads");
    const LastTreeHead next{request.head.size, request.head.root, request.head.time_ms};
    if (const auto last = log_.last_tree_head(request.signer)) {
        if (next.size < last->size) return refused("the log became shorter");
        if (next.size == last->size && next.root != last->root)
            return fail(ErrorCode::already_signed_differently,
                        "a log of " + std::to_string(next.size) + " has another root");
        if (next.time_ms < last->time_ms) return refused("the time went back");
        if (next == *last)
            return signature_answer(key->sign(eth::digest(request.domain, request.head)));
    }
    TRY(log_.record_tree_head(request.signer, next, clock_.now_ms()));
    return signature_answer(key->sign(eth::digest(request.domain, request.head)));
}

Result<Answer> SignerService::sign(const SignObjection& request) {
    TRY_ASSIGN(const crypto::PrivateKey* key, key_of(request.signer));
    TRY(check_domain(request.domain, policy_.leases));
    if (!policy_.voucher_signers.contains(request.signer))
        return refused("this account does not sign vouchers");
    return signature_answer(key->sign(eth::digest(request.domain, request.objection)));
}

}  // namespace ledger::signer

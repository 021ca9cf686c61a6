// SPDX-License-Identifier: Apache-2.0
#include "ledger/eth/transaction.hpp"

#include "ledger/crypto/keccak.hpp"
#include "ledger/eth/rlp.hpp"

namespace ledger::eth {
namespace {

using base::ErrorCode;
using base::fail;
constexpr std::uint8_t kType = 0x02;  // EIP-1559
constexpr std::size_t kUnsignedFields = 9;

base::Bytes unsigned_payload(const Transaction& transaction) {
    base::Bytes out;
    rlp::encode_uint(out, transaction.chain_id);
    rlp::encode_uint(out, transaction.nonce);
    rlp::encode_uint(out, transaction.max_priority_fee_per_gas);
    rlp::encode_uint(out, transaction.max_fee_per_gas);
    rlp::encode_uint(out, transaction.gas_limit);
    rlp::encode_bytes(out,
                      transaction.to ? base::ByteView(transaction.to->span()) : base::ByteView());
    rlp::encode_uint(out, transaction.value);
    rlp::encode_bytes(out, transaction.data);
    base::append(out, rlp::encode_list({}));  // no access list
    return out;
}

base::Bytes typed(base::ByteView payload) {
    base::Bytes out{kType};
    base::append(out, rlp::encode_list(payload));
    return out;
}

base::Result<std::uint64_t> field_u64(const rlp::Item& item) {
    TRY_ASSIGN(const U256 value, rlp::to_uint(item));
    return to_u64(value);
}

base::Result<Transaction> decode_fields(const std::vector<rlp::Item>& items) {
    Transaction out;
    TRY_ASSIGN(out.chain_id, field_u64(items[0]));
    TRY_ASSIGN(out.nonce, field_u64(items[1]));
    TRY_ASSIGN(out.max_priority_fee_per_gas, rlp::to_uint(items[2]));
    TRY_ASSIGN(out.max_fee_per_gas, rlp::to_uint(items[3]));
    TRY_ASSIGN(out.gas_limit, field_u64(items[4]));
    const base::ByteView to = items[5].payload;
    if (items[5].kind != rlp::Item::Kind::kString || (!to.empty() && to.size() != 20))
        return fail(ErrorCode::invalid_encoding, "transaction: bad recipient");
    if (!to.empty()) out.to = base::Address(to.first<20>());
    TRY_ASSIGN(out.value, rlp::to_uint(items[6]));
    if (items[7].kind != rlp::Item::Kind::kString)
        return fail(ErrorCode::invalid_encoding, "transaction: bad data");
    out.data.assign(items[7].payload.begin(), items[7].payload.end());
    if (items[8].kind != rlp::Item::Kind::kList || !items[8].payload.empty())
        return fail(ErrorCode::unsupported, "transaction: access lists are not used");
    return out;
}

}  // namespace

base::Hash32 signing_digest(const Transaction& transaction) {
    return crypto::keccak256(typed(unsigned_payload(transaction)));
}

base::Bytes encode_signed(const Transaction& transaction, const base::Signature& signature) {
    base::Bytes payload = unsigned_payload(transaction);
    rlp::encode_uint(payload, signature.data()[64] - 27U);
    rlp::encode_uint(payload, from_be(signature.span().first<32>()));
    rlp::encode_uint(payload, from_be(signature.span().subspan<32, 32>()));
    return typed(payload);
}

base::Hash32 transaction_hash(base::ByteView raw) {
    return crypto::keccak256(raw);
}

base::Result<SignedTransaction> decode_signed(base::ByteView raw) {
    if (raw.empty() || raw[0] != kType)
        return fail(ErrorCode::unsupported, "transaction: only type 2 (EIP-1559)");
    base::ByteView rest = raw.subspan(1);
    TRY_ASSIGN(const rlp::Item list, rlp::decode_item(rest));
    if (list.kind != rlp::Item::Kind::kList || !rest.empty())
        return fail(ErrorCode::invalid_encoding, "transaction: not one list");
    TRY_ASSIGN(const std::vector<rlp::Item> items, rlp::decode_items(list.payload));
    if (items.size() != kUnsignedFields + 3)
        return fail(ErrorCode::invalid_encoding, "transaction: wrong count of fields");

    SignedTransaction out;
    TRY_ASSIGN(out.transaction, decode_fields(items));
    TRY_ASSIGN(const std::uint64_t parity, field_u64(items[9]));
    TRY_ASSIGN(const U256 r, rlp::to_uint(items[10]));
    TRY_ASSIGN(const U256 s, rlp::to_uint(items[11]));
    if (parity > 1) return fail(ErrorCode::invalid_signature, "transaction: parity is 0 or 1");
    const auto r_bytes = to_be32(r);
    const auto s_bytes = to_be32(s);
    std::copy(r_bytes.begin(), r_bytes.end(), out.signature.data());
    std::copy(s_bytes.begin(), s_bytes.end(), out.signature.data() + 32);
    out.signature.data()[64] = static_cast<std::uint8_t>(27 + parity);

    // The pre-image is a slice of the received bytes: nothing is re-encoded before verifying.
    const std::uint8_t* const end = items[kUnsignedFields - 1].payload.data();
    const auto size = static_cast<std::size_t>(end - list.payload.data());
    TRY_ASSIGN(out.sender,
               crypto::recover(crypto::keccak256(typed(list.payload.first(size))), out.signature));
    return out;
}

}  // namespace ledger::eth

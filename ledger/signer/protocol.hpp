// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/result.hpp"
#include "ledger/eth/messages.hpp"
#include "ledger/eth/transaction.hpp"

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

/// One JSON line each way over the signer's socket. A bare digest cannot be asked for: the signer
/// sees what it signs.
namespace ledger::signer {

/// Longest line either way: a full batch of opens fits.
inline constexpr std::size_t kLineBytes = 1024 * 1024;

struct ListAddresses {
    friend bool operator==(const ListAddresses&, const ListAddresses&) = default;
};
struct SignTransaction {
    base::Address from;
    eth::Transaction transaction;
    friend bool operator==(const SignTransaction&, const SignTransaction&) = default;
};
/// What a lease's name is made of: through it the signer knows whom a voucher pays, and needs to
/// believe nobody.
struct LeaseOrigin {
    eth::Ask ask;
    base::Hash32 bid_hash;
    std::uint64_t index = 0;
    friend bool operator==(const LeaseOrigin&, const LeaseOrigin&) = default;
};
struct SignVoucher {
    base::Address signer;
    eth::Domain domain;
    eth::Voucher voucher;
    LeaseOrigin origin;
    friend bool operator==(const SignVoucher&, const SignVoucher&) = default;
};
struct SignTreeHead {
    base::Address signer;
    eth::Domain domain;
    eth::TreeHead head;
    friend bool operator==(const SignTreeHead&, const SignTreeHead&) = default;
};
/// Moves no money: a claim by the worker alone is taken away, what both signed is paid all the
/// same.
struct SignObjection {
    base::Address signer;
    eth::Domain domain;
    eth::Objection objection;
    friend bool operator==(const SignObjection&, const SignObjection&) = default;
};
using Request =
    std::variant<ListAddresses, SignTransaction, SignVoucher, SignTreeHead, SignObjection>;

/// Without the newline.
[[nodiscard]] std::string encode_request(const Request& request);
/// Strict: unknown operations and fields, wrong types and missing fields are refused.
[[nodiscard]] base::Result<Request> decode_request(std::string_view line);

/// Addresses for ListAddresses; else the signed raw transaction or the 65-byte signature.
struct Answer {
    std::vector<base::Address> addresses;
    base::Bytes bytes;
    friend bool operator==(const Answer&, const Answer&) = default;
};
[[nodiscard]] std::string encode_answer(const base::Result<Answer>& answer);
/// The signer's own error comes back as it was there.
[[nodiscard]] base::Result<Answer> decode_answer(std::string_view line);

}  // namespace ledger::signer

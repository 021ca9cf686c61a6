// SPDX-License-Identifier: Apache-2.0
#include "ledger/books/journal.hpp"

#include <array>
#include <set>

namespace ledger::books {

using base::ErrorCode;
using base::fail;
using base::Result;

std::string_view to_string(AccountKind kind) noexcept {
    switch (kind) {
        case AccountKind::kAvailable:
            return "available";
        case AccountKind::kHeld:
            return "held";
        case AccountKind::kCredit:
            return "credit";
        case AccountKind::kFees:
            return "fees";
        case AccountKind::kChain:
            return "chain";
    }
    return "unknown";
}

std::string_view to_string(EntryKind kind) noexcept {
    switch (kind) {
        case EntryKind::kDeposit:
            return "deposit";
        case EntryKind::kWithdraw:
            return "withdraw";
        case EntryKind::kReserve:
            return "reserve";
        case EntryKind::kCapture:
            return "capture";
        case EntryKind::kRelease:
            return "release";
        case EntryKind::kSweep:
            return "sweep";
    }
    return "unknown";
}

Result<void> check_balanced(const Entry& entry) {
    if (entry.postings.size() < 2 || entry.postings.size() > 8)
        return fail(ErrorCode::invalid_field, "an entry has 2 to 8 postings");
    base::Money sum;
    std::set<AccountId> seen;
    for (const Posting& posting : entry.postings) {
        if (posting.amount.atoms() == 0)
            return fail(ErrorCode::invalid_field, "a posting of zero moves nothing");
        if (!seen.insert(posting.account).second)
            return fail(ErrorCode::invalid_field, "an entry posts to an account once");
        TRY_ASSIGN(sum, sum.plus(posting.amount));
    }
    if (sum.atoms() != 0) return fail(ErrorCode::invalid_field, "debits and credits differ");
    return {};
}

namespace {

template <typename T>
void put(base::Bytes& out, T value) {
    for (std::size_t i = 0; i < sizeof(T); ++i)
        out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// Takes bytes off the front; `ok` falls when there are too few.
struct Reader {
    base::ByteView left;
    bool ok = true;

    std::uint64_t number(std::size_t size) {
        std::uint64_t value = 0;
        if (left.size() < size) {
            ok = false;
            return 0;
        }
        for (std::size_t i = 0; i < size; ++i)
            value |= std::uint64_t{left[i]} << (8 * i);
        left = left.subspan(size);
        return value;
    }
    template <typename Fixed>
    Fixed fixed() {
        Fixed value;
        if (left.size() < Fixed::kSize) {
            ok = false;
            return value;
        }
        std::copy_n(left.begin(), Fixed::kSize, value.data());
        left = left.subspan(Fixed::kSize);
        return value;
    }
};

}  // namespace

base::Bytes encode_entry(const Entry& entry) {
    base::Bytes out;
    out.reserve(82 + entry.postings.size() * 29);
    put(out, entry.number);
    put(out, entry.time_ms);
    put(out, static_cast<std::uint8_t>(entry.kind));
    base::append(out, entry.hold.span());
    base::append(out, entry.reference.span());
    put(out, static_cast<std::uint8_t>(entry.postings.size()));
    for (const Posting& posting : entry.postings) {
        base::append(out, posting.account.owner.span());
        put(out, static_cast<std::uint8_t>(posting.account.kind));
        put(out, static_cast<std::uint64_t>(posting.amount.atoms()));
    }
    return out;
}

Result<Entry> decode_entry(base::ByteView bytes) {
    Reader reader{bytes};
    Entry entry;
    entry.number = reader.number(8);
    entry.time_ms = reader.number(8);
    const std::uint64_t kind = reader.number(1);
    entry.hold = reader.fixed<base::Hash32>();
    entry.reference = reader.fixed<base::Hash32>();
    const std::uint64_t count = reader.number(1);
    if (!reader.ok || kind >= kEntryKindCount || count > 8)
        return fail(ErrorCode::invalid_encoding, "not a journal entry");
    entry.kind = static_cast<EntryKind>(kind);
    for (std::uint64_t i = 0; i < count; ++i) {
        Posting posting;
        posting.account.owner = reader.fixed<base::Address>();
        const std::uint64_t account_kind = reader.number(1);
        posting.amount = base::Money(static_cast<std::int64_t>(reader.number(8)));
        if (!reader.ok || account_kind >= kAccountKindCount)
            return fail(ErrorCode::invalid_encoding, "not a journal entry");
        posting.account.kind = static_cast<AccountKind>(account_kind);
        entry.postings.push_back(posting);
    }
    if (!reader.left.empty())
        return fail(ErrorCode::invalid_encoding, "bytes after a journal entry");
    return entry;
}

}  // namespace ledger::books

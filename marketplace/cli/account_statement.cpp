// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/account_statement.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/cli/job_order.hpp"

#include <fmt/format.h>

#include <map>

namespace marketplace::cli {
namespace {

using ledger::audit::Balances;
using ledger::audit::Movement;
using ledger::audit::MovementKind;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

constexpr std::uint64_t kDaySeconds = 86'400;

/// A day's first second, or a moment.
Result<std::uint64_t> parse_edge(const std::string& text, const char* option, bool is_end) {
    const bool is_day = text.size() == 10;
    const auto moment = text.starts_with('+')
                            ? Result<std::uint64_t>(fail(ErrorCode::invalid_field))
                            : parse_moment(is_day ? text + "T00:00Z" : text, 0);
    if (!moment)
        return fail(ErrorCode::invalid_field,
                    fmt::format("{} \"{}\": write 2027-01-31, or 2027-01-31T08:00Z", option, text));
    return is_day && is_end ? *moment + kDaySeconds : *moment;
}

/// What a movement changes of the account's own.
std::int64_t change_of(const Movement& movement) {
    switch (movement.kind) {
        case MovementKind::kDeposit:
        case MovementKind::kClaim:
        case MovementKind::kFee:
        case MovementKind::kCredit:
        case MovementKind::kFeeCredit:
        case MovementKind::kWithdraw:
        case MovementKind::kSweep:
            return movement.amount_atoms;
        case MovementKind::kLock:
        case MovementKind::kRefund:
        case MovementKind::kWithdrawRequest:
        case MovementKind::kWithdrawCancel:
            return 0;
    }
    return 0;
}

std::int64_t total_of(const Balances& balances) {
    return balances.free_atoms + balances.locked_atoms + balances.earned_atoms +
           balances.withdrawing_atoms;
}

/// Follows the account's own through its movements and holds it against the balances.
class Walk {
 public:
    Result<void> take(const Movement& movement) {
        own_ += change_of(movement);
        const bool pays =
            movement.kind == MovementKind::kClaim || movement.kind == MovementKind::kFee;
        // A lock keeps its size until the lease closes: what it paid is in the balances till then.
        if (pays && movement.lease) paid_of_open_[*movement.lease] -= movement.amount_atoms;
        if (movement.kind == MovementKind::kRefund && movement.lease)
            paid_of_open_.erase(*movement.lease);
        std::int64_t expected = own_;
        for (const auto& [lease, atoms] : paid_of_open_)
            expected += atoms;
        if (expected == total_of(movement.after)) return {};
        return fail(ErrorCode::audit_failed,
                    fmt::format("after transaction {} the account holds {} atoms, but what came "
                                "and went adds up to {}",
                                ledger::base::to_hex(movement.at.transaction),
                                total_of(movement.after), expected));
    }
    [[nodiscard]] std::int64_t own() const noexcept { return own_; }

 private:
    std::int64_t own_ = 0;
    std::map<Hash32, std::int64_t> paid_of_open_;
};

void add_to_sums(const Movement& movement, AccountStatement& out) {
    const std::int64_t atoms = movement.amount_atoms;
    switch (movement.kind) {
        case MovementKind::kDeposit:
            out.deposited_atoms += atoms;
            break;
        case MovementKind::kClaim:
            out.spent_atoms -= atoms;
            break;
        case MovementKind::kFee:
            out.fees_atoms -= atoms;
            break;
        case MovementKind::kCredit:
        case MovementKind::kFeeCredit:
            out.earned_atoms += atoms;
            break;
        case MovementKind::kWithdraw:
        case MovementKind::kSweep:
            out.withdrawn_atoms -= atoms;
            break;
        default:
            break;
    }
}

}  // namespace

Result<Period> parse_period(const std::string& from, const std::string& to) {
    Period out;
    if (!from.empty()) {
        TRY_ASSIGN(out.from_s, parse_edge(from, "--from", false));
    }
    if (!to.empty()) {
        TRY_ASSIGN(out.to_s, parse_edge(to, "--to", true));
    }
    if (out.from_s >= out.to_s)
        return fail(ErrorCode::invalid_window, "--to must lie after --from");
    return out;
}

Result<AccountStatement> make_statement(const std::vector<Movement>& movements,
                                        const Period& period) {
    AccountStatement out;
    Walk walk;
    for (const Movement& movement : movements) {
        if (movement.at.time_s >= period.to_s) break;
        TRY(walk.take(movement));
        out.after = movement.after;
        if (movement.at.time_s < period.from_s) {
            out.opening_atoms = walk.own();
            continue;
        }
        add_to_sums(movement, out);
        out.movements.push_back(movement);
    }
    out.closing_atoms = walk.own();
    return out;
}

}  // namespace marketplace::cli

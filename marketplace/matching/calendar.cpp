// SPDX-License-Identifier: Apache-2.0
#include "marketplace/matching/calendar.hpp"

#include "ledger/base/check.hpp"

#include <algorithm>

namespace marketplace::matching {

std::vector<Calendar::Window>::const_iterator Calendar::ending_after(TimeMs at) const noexcept {
    return std::upper_bound(windows_.begin(), windows_.end(), at,
                            [](TimeMs time, const Window& window) { return time < window.until; });
}

bool Calendar::is_free(TimeMs from, TimeMs until) const noexcept {
    if (from >= until) return true;
    const auto next = ending_after(from);
    return next == windows_.end() || until <= next->from;
}

void Calendar::hold(TimeMs from, TimeMs until) {
    MR_CHECK(from < until);
    MR_CHECK(is_free(from, until));
    windows_.insert(ending_after(from), Window{from, until});
}

void Calendar::release(TimeMs from, TimeMs until) {
    const auto found = ending_after(from);
    MR_CHECK(found != windows_.end());
    MR_CHECK(found->from == from);
    MR_CHECK(found->until == until);
    windows_.erase(found);
}

TimeMs Calendar::free_from(TimeMs at) const noexcept {
    for (auto next = ending_after(at); next != windows_.end() && next->from <= at; ++next)
        at = next->until;
    return at;
}

TimeMs Calendar::free_until(TimeMs at) const noexcept {
    const auto next = ending_after(at);
    if (next == windows_.end()) return kForever;
    return std::max(at, next->from);
}

}  // namespace marketplace::matching

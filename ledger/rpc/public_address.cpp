// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/public_address.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <string>

namespace ledger::rpc {
namespace {

/// The first `bits` bits of an address.
template <std::size_t N>
struct Range {
    std::array<std::uint8_t, N> first;
    unsigned bits;
};

/// The IANA registry of special-purpose IPv4 addresses, multicast and the former class E.
constexpr std::array<Range<4>, 17> kNotPublic4{{
    {{0, 0, 0, 0}, 8},
    {{10, 0, 0, 0}, 8},
    {{100, 64, 0, 0}, 10},
    {{127, 0, 0, 0}, 8},
    {{169, 254, 0, 0}, 16},
    {{172, 16, 0, 0}, 12},
    {{192, 0, 0, 0}, 24},
    {{192, 0, 2, 0}, 24},
    {{192, 31, 196, 0}, 24},
    {{192, 52, 193, 0}, 24},
    {{192, 88, 99, 0}, 24},
    {{192, 168, 0, 0}, 16},
    {{192, 175, 48, 0}, 24},
    {{198, 18, 0, 0}, 15},
    {{198, 51, 100, 0}, 24},
    {{203, 0, 113, 0}, 24},
    {{224, 0, 0, 0}, 3},  // multicast, reserved and broadcast
}};

/// Global unicast; everything else of IPv6 is refused, so also ::1, ::ffff:0:0/96, 64:ff9b::/96,
/// fc00::/7, fe80::/10 and ff00::/8.
constexpr Range<16> kGlobal6{{0x20}, 3};
constexpr std::array<Range<16>, 4> kNotPublic6{{
    {{0x20, 0x01, 0x00}, 23},        // protocol assignments, with Teredo
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x20, 0x02}, 16},              // 6to4
    {{0x3f, 0xff, 0x00}, 20},        // documentation
}};

template <std::size_t N>
bool holds(const Range<N>& range, base::ByteView bytes) noexcept {
    const std::size_t whole = range.bits / 8;
    if (!std::equal(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(whole),
                    range.first.begin()))
        return false;
    const unsigned rest = range.bits % 8;
    return rest == 0 || (bytes[whole] ^ range.first[whole]) >> (8 - rest) == 0;
}

template <std::size_t N, std::size_t Count>
bool any_holds(const std::array<Range<N>, Count>& ranges, base::ByteView bytes) noexcept {
    return std::any_of(ranges.begin(), ranges.end(),
                       [&](const Range<N>& range) { return holds(range, bytes); });
}

}  // namespace

bool is_public_address(base::ByteView bytes) noexcept {
    if (bytes.size() == 4) return !any_holds(kNotPublic4, bytes);
    return bytes.size() == 16 && holds(kGlobal6, bytes) && !any_holds(kNotPublic6, bytes);
}

std::optional<base::Bytes> parse_ip_address(std::string_view text) {
    const std::string zero_ended(text);
    base::Bytes four(4);
    if (::inet_pton(AF_INET, zero_ended.c_str(), four.data()) == 1) return four;
    base::Bytes sixteen(16);
    if (::inet_pton(AF_INET6, zero_ended.c_str(), sixteen.data()) == 1) return sixteen;
    return std::nullopt;
}

}  // namespace ledger::rpc

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"

#include <optional>
#include <string_view>

namespace ledger::rpc {

/// Whether an IP address (4 or 16 bytes, network order) is one of the open Internet: not loopback,
/// private, shared (CGNAT), link-local, multicast, documentation, benchmark or reserved, and of
/// IPv6 only global unicast without the forms that carry an IPv4 address (mapped, NAT64, 6to4,
/// Teredo). False for any other length.
[[nodiscard]] bool is_public_address(base::ByteView bytes) noexcept;

/// The bytes of an address in its usual notation ("192.0.2.1", "2001:db8::1", without brackets);
/// empty: a name.
[[nodiscard]] std::optional<base::Bytes> parse_ip_address(std::string_view text);

}  // namespace ledger::rpc

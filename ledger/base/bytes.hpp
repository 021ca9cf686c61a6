// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ledger::base {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;

/// The bytes of a string, without a copy.
[[nodiscard]] inline ByteView as_bytes(std::string_view text) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
/// The text of some bytes, without a copy.
[[nodiscard]] inline std::string_view as_text(ByteView bytes) noexcept {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

inline void append(Bytes& to, ByteView from) {
    to.insert(to.end(), from.begin(), from.end());
}

/// N bytes with value semantics, ordered and hashable. `Tag` keeps kinds apart.
template <std::size_t N, typename Tag>
class FixedBytes {
 public:
    static constexpr std::size_t kSize = N;

    constexpr FixedBytes() noexcept : bytes_{} {}
    constexpr explicit FixedBytes(const std::array<std::uint8_t, N>& bytes) noexcept
        : bytes_(bytes) {}
    constexpr explicit FixedBytes(std::span<const std::uint8_t, N> bytes) noexcept : bytes_{} {
        std::copy(bytes.begin(), bytes.end(), bytes_.begin());
    }

    [[nodiscard]] constexpr const std::uint8_t* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] constexpr std::uint8_t* data() noexcept { return bytes_.data(); }
    [[nodiscard]] static constexpr std::size_t size() noexcept { return N; }
    [[nodiscard]] constexpr auto begin() const noexcept { return bytes_.begin(); }
    [[nodiscard]] constexpr auto end() const noexcept { return bytes_.end(); }
    [[nodiscard]] constexpr std::span<const std::uint8_t, N> span() const noexcept {
        return std::span<const std::uint8_t, N>(bytes_);
    }
    [[nodiscard]] constexpr bool is_zero() const noexcept {
        return bytes_ == std::array<std::uint8_t, N>{};
    }

    friend constexpr auto operator<=>(const FixedBytes&, const FixedBytes&) = default;

 private:
    std::array<std::uint8_t, N> bytes_;
};

/// A 256-bit hash (keccak or SHA-256; the field's name says which) or on-chain key.
using Hash32 = FixedBytes<32, struct Hash32Tag>;
/// A 20-byte account on the chain.
using Address = FixedBytes<20, struct AddressTag>;
/// r ‖ s ‖ v, v in {27, 28}, s in the lower half (EIP-2).
using Signature = FixedBytes<65, struct SignatureTag>;

}  // namespace ledger::base

template <std::size_t N, typename Tag>
struct std::hash<ledger::base::FixedBytes<N, Tag>> {
    std::size_t operator()(const ledger::base::FixedBytes<N, Tag>& value) const noexcept {
        static_assert(N >= sizeof(std::size_t));
        std::size_t out = 0;
        // The last bytes: addresses of test accounts share leading zeros.
        std::memcpy(&out, value.data() + N - sizeof(out), sizeof(out));
        return out;
    }
};

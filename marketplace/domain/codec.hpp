// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/checked.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/lease.hpp"
#include "marketplace/domain/resource.hpp"

#include <array>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

/// The canonical binary form. Each struct names its fields once, in `fields`; Writer and Reader
/// both walk that list, so that encoding and decoding cannot drift apart.
namespace marketplace::domain {

/// Enums of the codec and how many values each has; anything else is refused.
template <typename Enum>
struct EnumSize;
template <>
struct EnumSize<ledger::eth::UnitKind> {
    static constexpr std::uint8_t kValue = ledger::eth::kUnitKindCount;
};
template <>
struct EnumSize<ledger::eth::OrderClass> {
    static constexpr std::uint8_t kValue = ledger::eth::kOrderClassCount;
};
template <>
struct EnumSize<JobKind> {
    static constexpr std::uint8_t kValue = 2;
};
template <>
struct EnumSize<JobState> {
    static constexpr std::uint8_t kValue = 8;
};
template <>
struct EnumSize<LeaseState> {
    static constexpr std::uint8_t kValue = 6;
};
template <>
struct EnumSize<CloseReason> {
    static constexpr std::uint8_t kValue = 8;
};

template <>
struct EnumSize<NumericClass> {
    static constexpr std::uint8_t kValue = kNumericClassCount;
};
template <>
struct EnumSize<Clearing> {
    static constexpr std::uint8_t kValue = kClearingCount;
};

template <typename T, typename U>
concept Like = std::same_as<std::remove_const_t<T>, U>;

template <typename T>
struct IsFixedBytes : std::false_type {};
template <std::size_t N, typename Tag>
struct IsFixedBytes<ledger::base::FixedBytes<N, Tag>> : std::true_type {};
template <typename Tag>
struct IsFixedBytes<ledger::base::Id<Tag>> : std::true_type {};

/// Appends values to a byte vector.
class Writer {
 public:
    explicit Writer(Bytes& out) noexcept : out_(out) {}

    template <typename... T>
    void operator()(const T&... values) {
        (put(values), ...);
    }
    void raw(ledger::base::ByteView bytes) { ledger::base::append(out_, bytes); }

 private:
    template <typename T>
    void put(const T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            out_.push_back(value ? 1 : 0);
        } else if constexpr (std::is_enum_v<T>) {
            out_.push_back(static_cast<std::uint8_t>(value));
        } else if constexpr (std::is_integral_v<T>) {
            put_integer(static_cast<std::make_unsigned_t<T>>(value));
        } else if constexpr (IsFixedBytes<T>::value) {
            raw({value.data(), T::kSize});
        } else {
            fields(*this, value);
        }
    }
    template <typename T>
    void put_integer(T value) {
        std::array<std::uint8_t, sizeof(T)> bytes{};
        for (std::size_t i = 0; i < sizeof(T); ++i)
            bytes[i] = static_cast<std::uint8_t>(value >> (8 * i));
        raw(bytes);
    }
    void put(const ledger::base::Uint128& value) {
        put_integer(static_cast<std::uint64_t>(value));
        put_integer(static_cast<std::uint64_t>(value >> 64U));
    }
    template <typename T, typename U>
    void put(const std::pair<T, U>& both) {
        put(both.first);
        put(both.second);
    }
    void put(const std::string& text) {
        put_integer(static_cast<std::uint32_t>(text.size()));
        raw(ledger::base::as_bytes(text));
    }
    template <typename T>
    void put(const std::vector<T>& list) {
        put_integer(static_cast<std::uint32_t>(list.size()));
        for (const T& item : list)
            put(item);
    }
    template <typename T, std::size_t N>
    void put(const std::array<T, N>& list) {
        for (const T& item : list)
            put(item);
    }
    template <typename T>
    void put(const std::optional<T>& value) {
        put(value.has_value());
        if (value) put(*value);
    }

    Bytes& out_;
};

/// Reads what Writer wrote. Once a read fails every later one does; look at `complete()` last.
class Reader {
 public:
    explicit Reader(ledger::base::ByteView bytes) noexcept : rest_(bytes) {}

    template <typename... T>
    void operator()(T&... values) {
        (get(values), ...);
    }
    [[nodiscard]] bool ok() const noexcept { return ok_; }
    [[nodiscard]] bool complete() const noexcept { return ok_ && rest_.empty(); }
    [[nodiscard]] std::size_t remaining() const noexcept { return rest_.size(); }
    void refuse() noexcept { ok_ = false; }
    /// The next `count` bytes; empty on failure.
    ledger::base::ByteView take(std::size_t count) noexcept {
        if (!ok_ || rest_.size() < count) {
            ok_ = false;
            return {};
        }
        const auto out = rest_.first(count);
        rest_ = rest_.subspan(count);
        return out;
    }

 private:
    template <typename T>
    void get(T& value) {
        if constexpr (std::is_same_v<T, bool>) {
            std::uint8_t byte = 0;
            get_integer(byte);
            if (byte > 1) refuse();
            value = byte == 1;
        } else if constexpr (std::is_enum_v<T>) {
            std::uint8_t byte = 0;
            get_integer(byte);
            if (byte >= EnumSize<T>::kValue) return refuse();
            value = static_cast<T>(byte);
        } else if constexpr (std::is_integral_v<T>) {
            std::make_unsigned_t<T> number = 0;
            get_integer(number);
            value = static_cast<T>(number);
        } else if constexpr (IsFixedBytes<T>::value) {
            const auto bytes = take(T::kSize);
            if (ok_) std::memcpy(value.data(), bytes.data(), T::kSize);
        } else {
            fields(*this, value);
        }
    }
    template <typename T>
    void get_integer(T& value) {
        const auto bytes = take(sizeof(T));
        if (!ok_) return;
        value = 0;
        for (std::size_t i = 0; i < sizeof(T); ++i)
            value = static_cast<T>(value | static_cast<T>(T{bytes[i]} << (8 * i)));
    }
    void get(ledger::base::Uint128& value) {
        std::uint64_t low = 0;
        std::uint64_t high = 0;
        get_integer(low);
        get_integer(high);
        value = ledger::base::Uint128{high} << 64U | low;
    }
    template <typename T, typename U>
    void get(std::pair<T, U>& both) {
        get(both.first);
        get(both.second);
    }
    void get(std::string& text) {
        std::uint32_t size = 0;
        get_integer(size);
        const auto bytes = take(size);
        if (ok_) text.assign(ledger::base::as_text(bytes));
    }
    template <typename T>
    void get(std::vector<T>& list) {
        std::uint32_t count = 0;
        get_integer(count);
        // Every element takes at least one byte: a count past the bytes left is a lie.
        if (!ok_ || count > rest_.size()) return refuse();
        list.clear();
        for (std::uint32_t i = 0; i < count && ok_; ++i)
            get(list.emplace_back());
    }
    template <typename T, std::size_t N>
    void get(std::array<T, N>& list) {
        for (T& item : list)
            get(item);
    }
    template <typename T>
    void get(std::optional<T>& value) {
        bool present = false;
        get(present);
        value.reset();
        if (ok_ && present) get(value.emplace());
    }

    ledger::base::ByteView rest_;
    bool ok_ = true;
};

template <typename A>
void fields(A& a, Like<ledger::eth::Ask> auto& v) {
    a(v.provider, v.resource_hash, v.unit_kind, v.price_atoms, v.min_units, v.max_units,
      v.order_class, v.reclaim_window_s, v.earliest_s, v.expiry_s, v.volume_units, v.matcher,
      v.salt);
}
template <typename A>
void fields(A& a, Like<ledger::eth::Bid> auto& v) {
    a(v.buyer, v.job_spec_hash, v.unit_kind, v.price_ceiling_atoms, v.max_amount_atoms,
      v.constraints_hash, v.order_class, v.verification_tier, v.earliest_s, v.deadline_s,
      v.expiry_s, v.volume_units, v.matcher, v.salt);
}
template <typename A>
void fields(A& a, Like<ledger::eth::Delegation> auto& v) {
    a(v.owner, v.delegate, v.scope, v.spend_cap_atoms, v.expiry_s, v.nonce);
}
template <typename A>
void fields(A& a, Like<ledger::eth::Receipt> auto& v) {
    a(v.lease, v.sequence, v.previous, v.unit_kind, v.cumulative_units, v.price_atoms,
      v.cumulative_amount_atoms, v.model_hash, v.request_hash, v.response_hash, v.start_ms,
      v.end_ms);
}
template <typename A>
void fields(A& a, Like<ledger::eth::Voucher> auto& v) {
    a(v.lease, v.sequence, v.cumulative_units, v.cumulative_amount_atoms, v.receipts_root);
}
template <typename A>
void fields(A& a, Like<Resource> auto& v) {
    a(v.gpu_model, v.gpu_count, v.vram_mib, v.ram_mib, v.cpu_cores, v.region, v.runtime,
      v.max_flops_per_step, v.worker, v.disk_mib, v.bandwidth_mbps, v.interconnect,
      v.numeric_classes, v.verification_tier, v.max_gang, v.buyers, v.exclude_buyers, v.gflop_per_s,
      v.memory_mb_per_s);
}
template <typename A>
void fields(A& a, Like<Constraints> auto& v) {
    a(v.gpu_models, v.min_gpu_count, v.min_vram_mib, v.regions, v.runtimes, v.providers,
      v.exclude_providers, v.min_ram_mib, v.min_disk_mib, v.min_cpu_cores, v.min_bandwidth_mbps,
      v.min_reliability_bp, v.min_reclaim_window_s, v.interconnects, v.numeric_class, v.gang,
      v.min_slice_units, v.max_duration_s, v.clearing, v.ramp_from_atoms, v.ramp_start_s,
      v.ramp_end_s, v.min_gflop_per_s, v.min_memory_mb_per_s);
}
template <typename A>
void fields(A& a, Like<JobTerms> auto& v) {
    a(v.kind, v.total_units, v.segment_units, v.flops_per_step, v.may_end_early);
}
template <typename A>
void fields(A& a, Like<BidLeg> auto& v) {
    a(v.bid, v.signature, v.constraints);
}
template <typename A>
void fields(A& a, Like<Mismatches> auto& v) {
    a(v.asks, v.failed, v.nearest);
}

}  // namespace marketplace::domain

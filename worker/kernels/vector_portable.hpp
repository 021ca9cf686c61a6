// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"

#include <cstddef>
#include <cstdint>

namespace worker::kernels {

/// The compiler's own vectors, as wide as AVX-512's and with the same data layout, on any
/// processor.
struct Portable {
    using Floats = float __attribute__((vector_size(64)));
    using Ints = std::int32_t __attribute__((vector_size(64)));
    using Words = std::uint32_t __attribute__((vector_size(64)));
    static constexpr std::size_t kLanes = 16;
    static constexpr std::size_t kRowsFloat = 2;
    static constexpr std::size_t kRowsBf16 = 1;
    static constexpr std::size_t kRowsInt = 2;

    MILLRACE_INLINE static Floats load(const float* p) {
        Floats out;
        __builtin_memcpy(&out, p, sizeof out);
        return out;
    }
    MILLRACE_INLINE static void store(float* p, Floats v) { __builtin_memcpy(p, &v, sizeof v); }
    MILLRACE_INLINE static Floats all(float v) { return v - Floats{}; }
    MILLRACE_INLINE static Floats add(Floats a, Floats b) { return a + b; }
    MILLRACE_INLINE static Floats sub(Floats a, Floats b) { return a - b; }
    MILLRACE_INLINE static Floats mul(Floats a, Floats b) { return a * b; }
    MILLRACE_INLINE static Floats div(Floats a, Floats b) { return a / b; }
    /// a · b + c, rounded twice.
    MILLRACE_INLINE static Floats fma(Floats a, Floats b, Floats c) { return a * b + c; }
    /// `b` where either is NaN.
    MILLRACE_INLINE static Floats max(Floats a, Floats b) { return a > b ? a : b; }
    MILLRACE_INLINE static Floats min(Floats a, Floats b) { return a < b ? a : b; }
    /// `value`, zero where a < b.
    MILLRACE_INLINE static Floats zero_below(Floats value, Floats a, Floats b) {
        return a < b ? Floats{} : value;
    }
    MILLRACE_INLINE static Ints bits(Floats v) { return reinterpret_cast<Ints>(v); }
    MILLRACE_INLINE static Floats floats(Ints v) { return reinterpret_cast<Floats>(v); }
    MILLRACE_INLINE static Ints all_ints(std::int32_t v) { return v - Ints{}; }
    MILLRACE_INLINE static Ints add_ints(Ints a, Ints b) { return a + b; }
    MILLRACE_INLINE static Ints or_bits(Ints a, Ints b) { return a | b; }
    MILLRACE_INLINE static Ints and_bits(Ints a, Ints b) { return a & b; }
    template <int Count>
    MILLRACE_INLINE static Ints shift_left(Ints v) {
        return reinterpret_cast<Ints>(reinterpret_cast<Words>(v) << Count);
    }
    MILLRACE_INLINE static Floats to_floats(Ints v) { return __builtin_convertvector(v, Floats); }

    MILLRACE_INLINE static Ints load_ints(const std::byte* p) {
        Ints out;
        __builtin_memcpy(&out, p, sizeof out);
        return out;
    }
    /// kLanes neighbouring bf16.
    MILLRACE_INLINE static Floats load_bf16(const std::byte* p) {
        std::uint16_t __attribute__((vector_size(32))) halves;
        __builtin_memcpy(&halves, p, sizeof halves);
        return reinterpret_cast<Floats>(__builtin_convertvector(halves, Words) << 16);
    }

    static constexpr std::size_t kQuadBytesInt8 = 4;
    using Weights8 = Ints;
    struct Inputs8 {
        std::int32_t q[4];  // NOLINT(modernize-avoid-c-arrays): registers
    };
    MILLRACE_INLINE static void put_quad8(const std::int32_t* q, std::byte* to) {
        for (std::size_t i = 0; i < 4; ++i)
            to[i] = static_cast<std::byte>(q[i]);
    }
    MILLRACE_INLINE static Weights8 weights8(const std::byte* p) { return load_ints(p); }
    MILLRACE_INLINE static Inputs8 inputs8(const std::byte* p) {
        Inputs8 out;
        for (std::size_t i = 0; i < 4; ++i)
            out.q[i] = static_cast<std::int8_t>(p[i]);
        return out;
    }
    MILLRACE_INLINE static Ints dot8(Ints sum, Weights8 w, const Inputs8& x) {
        sum += (w & 255) * x.q[0];
        sum += ((w >> 8) & 255) * x.q[1];
        sum += ((w >> 16) & 255) * x.q[2];
        return sum + ((w >> 24) & 255) * x.q[3];
    }

    static constexpr std::size_t kQuadBytesInt4 = 4;
    struct Weights4 {
        Ints low;
        Ints high;
    };
    MILLRACE_INLINE static Weights4 weights4(const std::byte* p) {
        const Ints both = load_ints(p);
        return {both & 0x0F0F'0F0F, (both >> 4) & 0x0F0F'0F0F};
    }
    MILLRACE_INLINE static Inputs8 inputs4(const std::byte* p) { return inputs8(p); }
    MILLRACE_INLINE static Ints dot4(Ints sum, Ints w, const Inputs8& x) { return dot8(sum, w, x); }
    MILLRACE_INLINE static Ints total4(Ints sum) { return sum; }
};

}  // namespace worker::kernels

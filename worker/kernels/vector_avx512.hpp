// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace worker::kernels {

/// AVX-512 with VNNI behind the operations that the kernel templates use.
struct Avx512 {
    using Floats = __m512;
    using Ints = __m512i;
    static constexpr std::size_t kLanes = 16;
    static constexpr std::size_t kRowsFloat = 8;
    static constexpr std::size_t kRowsBf16 = 8;
    static constexpr std::size_t kRowsInt = 8;

    MILLRACE_INLINE static Floats load(const float* p) { return _mm512_loadu_ps(p); }
    MILLRACE_INLINE static void store(float* p, Floats v) { _mm512_storeu_ps(p, v); }
    MILLRACE_INLINE static Floats all(float v) { return _mm512_set1_ps(v); }
    MILLRACE_INLINE static Floats add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
    MILLRACE_INLINE static Floats sub(Floats a, Floats b) { return _mm512_sub_ps(a, b); }
    MILLRACE_INLINE static Floats mul(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
    MILLRACE_INLINE static Floats div(Floats a, Floats b) { return _mm512_div_ps(a, b); }
    /// a · b + c
    MILLRACE_INLINE static Floats fma(Floats a, Floats b, Floats c) {
        return _mm512_fmadd_ps(a, b, c);
    }
    /// `b` where either is NaN.
    MILLRACE_INLINE static Floats max(Floats a, Floats b) { return _mm512_max_ps(a, b); }
    MILLRACE_INLINE static Floats min(Floats a, Floats b) { return _mm512_min_ps(a, b); }
    /// `value`, zero where a < b.
    MILLRACE_INLINE static Floats zero_below(Floats value, Floats a, Floats b) {
        return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ), value);
    }
    MILLRACE_INLINE static Ints bits(Floats v) { return _mm512_castps_si512(v); }
    MILLRACE_INLINE static Floats floats(Ints v) { return _mm512_castsi512_ps(v); }
    MILLRACE_INLINE static Ints all_ints(std::int32_t v) { return _mm512_set1_epi32(v); }
    MILLRACE_INLINE static Ints add_ints(Ints a, Ints b) { return _mm512_add_epi32(a, b); }
    MILLRACE_INLINE static Ints or_bits(Ints a, Ints b) { return _mm512_or_si512(a, b); }
    MILLRACE_INLINE static Ints and_bits(Ints a, Ints b) { return _mm512_and_si512(a, b); }
    template <int Count>
    MILLRACE_INLINE static Ints shift_left(Ints v) {
        return _mm512_slli_epi32(v, Count);
    }
    MILLRACE_INLINE static Floats to_floats(Ints v) { return _mm512_cvtepi32_ps(v); }

    MILLRACE_INLINE static Ints load_ints(const std::byte* p) { return _mm512_loadu_si512(p); }
    /// kLanes neighbouring bf16.
    MILLRACE_INLINE static Floats load_bf16(const std::byte* p) {
        const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return floats(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }

    // vpdpbusd multiplies four unsigned by four signed bytes and adds to 32 bits, exactly.
    static constexpr std::size_t kQuadBytesInt8 = 4;
    using Weights8 = Ints;
    using Inputs8 = Ints;
    MILLRACE_INLINE static void put_quad8(const std::int32_t* q, std::byte* to) {
        for (std::size_t i = 0; i < 4; ++i)
            to[i] = static_cast<std::byte>(q[i]);
    }
    MILLRACE_INLINE static Weights8 weights8(const std::byte* p) { return load_ints(p); }
    MILLRACE_INLINE static Inputs8 inputs8(const std::byte* p) {
        std::int32_t four = 0;
        __builtin_memcpy(&four, p, sizeof four);
        return _mm512_set1_epi32(four);
    }
    MILLRACE_INLINE static Ints dot8(Ints sum, Weights8 w, Inputs8 x) {
        return _mm512_dpbusd_epi32(sum, w, x);
    }

    static constexpr std::size_t kQuadBytesInt4 = 4;
    struct Weights4 {
        Ints low;
        Ints high;
    };
    MILLRACE_INLINE static Weights4 weights4(const std::byte* p) {
        const Ints both = load_ints(p);
        const Ints mask = _mm512_set1_epi8(15);
        return {_mm512_and_si512(both, mask), _mm512_and_si512(_mm512_srli_epi16(both, 4), mask)};
    }
    MILLRACE_INLINE static Ints inputs4(const std::byte* p) { return inputs8(p); }
    MILLRACE_INLINE static Ints dot4(Ints sum, Ints w, Ints x) {
        return _mm512_dpbusd_epi32(sum, w, x);
    }
    MILLRACE_INLINE static Ints total4(Ints sum) { return sum; }
};

}  // namespace worker::kernels

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/inlining.hpp"

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace worker::kernels {

/// AVX2 and FMA behind the operations that the kernel templates use.
struct Avx2 {
    using Floats = __m256;
    using Ints = __m256i;
    static constexpr std::size_t kLanes = 8;
    static constexpr std::size_t kRowsFloat = 4;
    static constexpr std::size_t kRowsBf16 = 3;
    static constexpr std::size_t kRowsInt = 4;

    MILLRACE_INLINE static Floats load(const float* p) { return _mm256_loadu_ps(p); }
    MILLRACE_INLINE static void store(float* p, Floats v) { _mm256_storeu_ps(p, v); }
    MILLRACE_INLINE static Floats all(float v) { return _mm256_set1_ps(v); }
    MILLRACE_INLINE static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    MILLRACE_INLINE static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    MILLRACE_INLINE static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    MILLRACE_INLINE static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    /// a · b + c
    MILLRACE_INLINE static Floats fma(Floats a, Floats b, Floats c) {
        return _mm256_fmadd_ps(a, b, c);
    }
    /// `b` where either is NaN.
    MILLRACE_INLINE static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    MILLRACE_INLINE static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    /// `value`, zero where a < b.
    MILLRACE_INLINE static Floats zero_below(Floats value, Floats a, Floats b) {
        return _mm256_andnot_ps(_mm256_cmp_ps(a, b, _CMP_LT_OQ), value);
    }
    MILLRACE_INLINE static Ints bits(Floats v) { return _mm256_castps_si256(v); }
    MILLRACE_INLINE static Floats floats(Ints v) { return _mm256_castsi256_ps(v); }
    MILLRACE_INLINE static Ints all_ints(std::int32_t v) { return _mm256_set1_epi32(v); }
    MILLRACE_INLINE static Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
    MILLRACE_INLINE static Ints or_bits(Ints a, Ints b) { return _mm256_or_si256(a, b); }
    MILLRACE_INLINE static Ints and_bits(Ints a, Ints b) { return _mm256_and_si256(a, b); }
    template <int Count>
    MILLRACE_INLINE static Ints shift_left(Ints v) {
        return _mm256_slli_epi32(v, Count);
    }
    MILLRACE_INLINE static Floats to_floats(Ints v) { return _mm256_cvtepi32_ps(v); }

    MILLRACE_INLINE static Ints load_ints(const std::byte* p) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }
    /// The same four bytes in every lane.
    MILLRACE_INLINE static Ints spread(const std::byte* p) {
        std::int32_t four = 0;
        __builtin_memcpy(&four, p, sizeof four);
        return _mm256_set1_epi32(four);
    }
    /// kLanes neighbouring bf16.
    MILLRACE_INLINE static Floats load_bf16(const std::byte* p) {
        const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
        return floats(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
    }

    // int8: 16-bit products. Two 8-bit factors would saturate in vpmaddubsw; inputs 0 and 2 of a
    // quad are therefore kept side by side, then 1 and 3, as 16-bit numbers.
    static constexpr std::size_t kQuadBytesInt8 = 8;
    struct Weights8 {
        Ints even;
        Ints odd;
    };
    using Inputs8 = Weights8;
    MILLRACE_INLINE static void put_quad8(const std::int32_t* q, std::byte* to) {
        const std::int16_t words[4] = {
            static_cast<std::int16_t>(q[0]), static_cast<std::int16_t>(q[2]),
            static_cast<std::int16_t>(q[1]), static_cast<std::int16_t>(q[3])};
        __builtin_memcpy(to, words, sizeof words);
    }
    MILLRACE_INLINE static Weights8 weights8(const std::byte* p) {
        const Ints quads = load_ints(p);
        return {_mm256_and_si256(quads, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16(quads, 8)};
    }
    MILLRACE_INLINE static Inputs8 inputs8(const std::byte* p) {
        return {spread(p), spread(p + 4)};
    }
    MILLRACE_INLINE static Ints dot8(Ints sum, const Weights8& w, const Inputs8& x) {
        return add_product(add_product(sum, w.even, x.even), w.odd, x.odd);
    }
    /// sum + w · x, pairs of 16-bit products. In assembly because the compiler, which sees through
    /// the intrinsics, keeps many products open at once and has to move sums out of registers.
    MILLRACE_INLINE static Ints add_product(Ints sum, Ints w, Ints x) {
        Ints product;
        asm("vpmaddwd %2, %3, %0\n\t"
            "vpaddd %0, %1, %1"
            : "=&x"(product), "+x"(sum)
            : "x"(w), "x"(x));
        return sum;
    }

    // int4: 2 · 15 · 127 fits 16 bits eight times over, so a group's sum does.
    static constexpr std::size_t kQuadBytesInt4 = 4;
    struct Weights4 {
        Ints low;
        Ints high;
    };
    MILLRACE_INLINE static Weights4 weights4(const std::byte* p) {
        const Ints both = load_ints(p);
        const Ints mask = _mm256_set1_epi8(15);
        return {_mm256_and_si256(both, mask), _mm256_and_si256(_mm256_srli_epi16(both, 4), mask)};
    }
    MILLRACE_INLINE static Ints inputs4(const std::byte* p) { return spread(p); }
    MILLRACE_INLINE static Ints dot4(Ints sum, Ints w, Ints x) {
        Ints product;
        asm("vpmaddubsw %3, %2, %0\n\t"
            "vpaddw %0, %1, %1"
            : "=&x"(product), "+x"(sum)
            : "x"(w), "x"(x));
        return sum;
    }
    MILLRACE_INLINE static Ints total4(Ints sum) {
        return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    }
};

}  // namespace worker::kernels

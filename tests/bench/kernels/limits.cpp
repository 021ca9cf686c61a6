// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/kernels/limits.hpp"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {

namespace {

constexpr std::size_t kChains = 12;

#if defined(__AVX512VNNI__)
using Vector = __m512;
using Integers = __m512i;
constexpr double kIntegerOperations = 128;
Integers dot(Integers sum, Integers a, Integers b) {
    return _mm512_dpbusd_epi32(sum, a, b);
}
Integers load(const std::byte* p) {
    return _mm512_loadu_si512(p);
}
Integers mix(Integers a, Integers b) {
    return _mm512_or_si512(a, b);
}
#elif defined(__AVX2__)
using Vector = __m256;
using Integers = __m256i;
constexpr double kIntegerOperations = 32;
Integers dot(Integers sum, Integers a, Integers b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
Integers load(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
Integers mix(Integers a, Integers b) {
    return _mm256_or_si256(a, b);
}
#else
using Vector = float __attribute__((vector_size(16)));
using Integers = std::int32_t __attribute__((vector_size(16)));
constexpr double kIntegerOperations = 8;
Integers dot(Integers sum, Integers a, Integers b) {
    return sum + a * b;
}
Integers load(const std::byte* p) {
    return *reinterpret_cast<const Integers*>(p);
}
Integers mix(Integers a, Integers b) {
    return a | b;
}
#endif

/// The compiler may not know what is in it.
template <typename T>
void hide(T& value) {
    asm volatile("" : "+v"(value));  // NOLINT(hicpp-no-assembler)
}

template <typename T>
float first_of(const T& value) {
    float out = 0;
    std::memcpy(&out, &value, sizeof out);
    return out;
}

}  // namespace

std::uint64_t read_all(std::span<const std::byte> memory) {
    constexpr std::size_t kBlock = 4 * sizeof(Integers);
    Integers a{};
    Integers b{};
    Integers c{};
    Integers d{};
    const std::byte* p = memory.data();
    const std::byte* end = p + memory.size() / kBlock * kBlock;
    for (; p != end; p += kBlock) {
        __builtin_prefetch(p + 1536, 0, 3);
        __builtin_prefetch(p + 1600, 0, 3);
        a = mix(a, load(p));
        b = mix(b, load(p + sizeof(Integers)));
        c = mix(c, load(p + 2 * sizeof(Integers)));
        d = mix(d, load(p + 3 * sizeof(Integers)));
    }
    const Integers all = mix(mix(a, b), mix(c, d));
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < sizeof(Integers); ++i)
        sum += reinterpret_cast<const unsigned char*>(&all)[i];
    return sum;
}

Arithmetic multiply_integers(std::size_t turns) {
    Integers sums[kChains] = {};  // NOLINT(modernize-avoid-c-arrays): registers
    Integers a{};
    Integers b{};
    for (std::size_t turn = 0; turn < turns; ++turn) {
        // Hidden each time, or the compiler would multiply once for all.
        for (auto& sum : sums) {
            hide(a);
            hide(b);
            sum = dot(sum, a, b);
        }
    }
    Integers all{};
    for (const auto& sum : sums)
        all = mix(all, sum);
    return {static_cast<double>(turns) * kChains * kIntegerOperations, first_of(all)};
}

Arithmetic multiply_floats(std::size_t turns) {
    Vector sums[kChains] = {};  // NOLINT(modernize-avoid-c-arrays)
    Vector a{};
    Vector b{};
    for (std::size_t turn = 0; turn < turns; ++turn) {
        // Hidden each time, or the compiler would multiply once for all.
        for (auto& sum : sums) {
            hide(a);
            hide(b);
            sum = a * b + sum;
        }
    }
    Vector all{};
    for (const auto& sum : sums)
        all += sum;
    return {static_cast<double>(turns) * kChains * 2.0 * (sizeof(Vector) / sizeof(float)),
            first_of(all)};
}

}  // namespace bench

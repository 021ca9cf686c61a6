// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/kernels/limits.hpp"

#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace bench {

namespace {

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
    // As the kernels have it: the compiler's own choice moves sums to memory.
    Integers product;
    asm("vpmaddwd %2, %3, %0\n\t"
        "vpaddd %0, %1, %1"
        : "=&x"(product), "+x"(sum)
        : "x"(a), "x"(b));
    return sum;
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

/// Ten sums side by side hide the latency of one. Each is a variable: an array would lie in memory.
/// `step` hides its factors, or the compiler would multiply once for all.
constexpr std::size_t kChains = 10;
template <typename T, typename Step>
T run_chains(std::size_t turns, Step&& step) {
    T s0{}, s1{}, s2{}, s3{}, s4{}, s5{}, s6{}, s7{}, s8{}, s9{};
    for (std::size_t turn = 0; turn < turns; ++turn) {
        step(s0);
        step(s1);
        step(s2);
        step(s3);
        step(s4);
        step(s5);
        step(s6);
        step(s7);
        step(s8);
        step(s9);
    }
    return s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7 + s8 + s9;
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
    Integers a{};
    Integers b{};
    const Integers sum = run_chains<Integers>(turns, [&](Integers& chain) {
        hide(a);
        hide(b);
        chain = dot(chain, a, b);
    });
    return {static_cast<double>(turns) * kChains * kIntegerOperations, first_of(sum)};
}

Arithmetic multiply_floats(std::size_t turns) {
    Vector a{};
    Vector b{};
    const Vector sum = run_chains<Vector>(turns, [&](Vector& chain) {
        hide(a);
        hide(b);
        chain = a * b + chain;
    });
    return {static_cast<double>(turns) * kChains * 2.0 * (sizeof(Vector) / sizeof(float)),
            first_of(sum)};
}

}  // namespace bench

// SPDX-License-Identifier: Apache-2.0
#include "worker/kernels/weight_matrix.hpp"

#include "worker/kernels/kernel_table.hpp"
#include "worker/kernels/number_formats.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

namespace worker::kernels {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kPanel = WeightMatrix::kPanel;
constexpr std::size_t kGroup = WeightMatrix::kGroup;
constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

// A panel holds, for 16 outputs n:
//   kF32   [k][n]
//   kBf16  [k/2][n][2]: a pair of inputs in each 32-bit lane
//   kInt8  [k/4][n][4]: four inputs in each lane, each plus 128
//   kInt4  [k/32] times { scales bf16 [n]; [4][n][4] bytes }: byte b of step s holds input 8s + b
//   in
//          its low half and input 8s + 4 + b in its high half, each plus 8
// with zero weights in the places past n and k.
constexpr std::size_t kInt4GroupBytes = 2 * kPanel + kPanel * kGroup / 2;

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

/// Inputs in a panel, with the padding.
constexpr std::size_t padded_inputs(std::size_t k, WeightFormat format) {
    switch (format) {
        case WeightFormat::kF32:
            return k;
        case WeightFormat::kBf16:
            return round_up(k, 2);
        case WeightFormat::kInt8:
        case WeightFormat::kInt4:
            return round_up(k, kGroup);
    }
    return k;
}

std::uint16_t half_at(const std::byte* from) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, from, sizeof bits);
    return bits;
}

/// Output `column` of a part into `to`.
void read_output(const WeightSource& part, std::size_t column, float* to) {
    const std::size_t size = bytes_of(part.type);
    if (part.order == SourceOrder::kOutIn) {
        to_floats(part.type, part.data.data() + column * part.k * size, part.k, to);
        return;
    }
    for (std::size_t i = 0; i < part.k; ++i)
        to_floats(part.type, part.data.data() + (i * part.n + column) * size, 1, to + i);
}

/// Sixteen rows of 32-bit lanes, one after another, into a panel: lane i of row j becomes lane
/// 16i + j. In squares, so that what is written stays in the nearest cache until it is whole.
void interleave(const std::uint32_t* rows, std::size_t lanes, std::byte* panel) {
    auto* to = reinterpret_cast<std::uint32_t*>(panel);
    for (std::size_t begin = 0; begin < lanes; begin += kPanel) {
        const std::size_t end = std::min(begin + kPanel, lanes);
        for (std::size_t j = 0; j < kPanel; ++j)
            for (std::size_t i = begin; i < end; ++i)
                to[i * kPanel + j] = rows[j * lanes + i];
    }
}

bool all_finite(const float* values, std::size_t count) {
    unsigned bad = 0;
    for (std::size_t i = 0; i < count; ++i)
        bad |= static_cast<unsigned>(!is_finite(values[i]));
    return bad == 0;
}

bool all_finite(const std::uint16_t* bf16, std::size_t count) {
    unsigned bad = 0;
    for (std::size_t i = 0; i < count; ++i)
        bad |= static_cast<unsigned>((bf16[i] & 0x7F80U) == 0x7F80U);
    return bad == 0;
}

/// What one output becomes before it lies between others. `floats` has the padded inputs and zeros
/// past k.
struct Row {
    float* floats;
    std::uint32_t* lanes;  ///< int4: the floats themselves
    std::size_t padded;
};

/// False when a number is not finite in the format. int8: gives the scale.
bool make_row(const WeightSource& part, std::size_t column, WeightFormat format, const Row& row,
              float* scale) {
    if (format == WeightFormat::kBf16) {
        auto* to = reinterpret_cast<std::uint16_t*>(row.lanes);
        if (part.type == SourceType::kBf16 && part.order == SourceOrder::kOutIn) {
            std::memcpy(to, part.data.data() + column * part.k * 2, part.k * 2);
        } else {
            read_output(part, column, row.floats);
            for (std::size_t i = 0; i < part.k; ++i)
                to[i] = to_bf16(row.floats[i]);
        }
        if (part.k < row.padded) to[part.k] = 0;
        return all_finite(to, part.k);
    }
    read_output(part, column, row.floats);
    if (format == WeightFormat::kInt8)
        return kernels().int8_row(row.floats, row.padded,
                                  reinterpret_cast<std::uint8_t*>(row.lanes), scale);
    std::memcpy(row.lanes, row.floats, row.padded * sizeof(float));
    return all_finite(row.floats, part.k);
}

/// Lanes of a row.
constexpr std::size_t lanes_of(std::size_t padded, WeightFormat format) {
    switch (format) {
        case WeightFormat::kF32:
        case WeightFormat::kInt4:
            return padded;
        case WeightFormat::kBf16:
            return padded / 2;
        case WeightFormat::kInt8:
            return padded / 4;
    }
    return padded;
}

Result<std::size_t> check_parts(std::span<const WeightSource> parts) {
    std::size_t n = 0;
    for (const WeightSource& part : parts) {
        if (part.n == 0 || part.k == 0 || part.k != parts.front().k)
            return fail(ErrorCode::data_invalid, "matrices of different or no width");
        if (part.n > WeightMatrix::kSideMax - n || part.k > WeightMatrix::kSideMax)
            return fail(ErrorCode::job_limit, "a side of a matrix is above 1048576");
        if (part.data.size() != part.n * part.k * bytes_of(part.type))
            return fail(ErrorCode::data_invalid,
                        "a matrix's data is not as long as its shape says");
        n += part.n;
    }
    if (n == 0) return fail(ErrorCode::data_invalid, "no matrix");
    return n;
}

/// The part and the output in it of output `index` of the stack.
std::pair<const WeightSource*, std::size_t> part_of(std::span<const WeightSource> parts,
                                                    std::size_t index) {
    for (const WeightSource& part : parts) {
        if (index < part.n) return {&part, index};
        index -= part.n;
    }
    return {nullptr, 0};
}

}  // namespace

std::string_view to_string(WeightFormat format) noexcept {
    switch (format) {
        case WeightFormat::kF32:
            return "fp32";
        case WeightFormat::kBf16:
            return "bf16";
        case WeightFormat::kInt8:
            return "int8";
        case WeightFormat::kInt4:
            return "int4";
    }
    return "fp32";
}

std::optional<WeightFormat> parse_weight_format(std::string_view text) noexcept {
    for (const WeightFormat format :
         {WeightFormat::kF32, WeightFormat::kBf16, WeightFormat::kInt8, WeightFormat::kInt4})
        if (text == to_string(format)) return format;
    return std::nullopt;
}

void to_floats(SourceType type, const std::byte* from, std::size_t count, float* to) {
    switch (type) {
        case SourceType::kF32:
            std::memcpy(to, from, count * sizeof(float));
            return;
        case SourceType::kBf16:
            for (std::size_t i = 0; i < count; ++i)
                to[i] = from_bf16(half_at(from + 2 * i));
            return;
        case SourceType::kF16:
            for (std::size_t i = 0; i < count; ++i)
                to[i] = from_f16(half_at(from + 2 * i));
            return;
    }
}

std::size_t WeightMatrix::panel_bytes(std::size_t k, WeightFormat format) noexcept {
    const std::size_t inputs = padded_inputs(k, format);
    switch (format) {
        case WeightFormat::kF32:
            return inputs * kPanel * 4;
        case WeightFormat::kBf16:
            return inputs * kPanel * 2;
        case WeightFormat::kInt8:
            return inputs * kPanel;
        case WeightFormat::kInt4:
            return inputs / kGroup * kInt4GroupBytes;
    }
    return 0;
}

std::size_t WeightMatrix::bytes(std::size_t n, std::size_t k, WeightFormat format) noexcept {
    const std::size_t panels = (n + kPanel - 1) / kPanel;
    const std::size_t scales = format == WeightFormat::kInt8 ? panels * kPanel * sizeof(float) : 0;
    return panels * panel_bytes(k, format) + scales;
}

WeightMatrix::WeightMatrix(std::size_t n, std::size_t k, WeightFormat format)
    : n_(n),
      k_(k),
      format_(format),
      panels_(panel_count() * panel_bytes()),
      scales_(format == WeightFormat::kInt8 ? panel_count() * kPanel : 0) {}

Result<WeightMatrix> WeightMatrix::pack(std::span<const WeightSource> parts, WeightFormat format,
                                        Pool& pool) {
    TRY_ASSIGN(const std::size_t n, check_parts(parts));
    const std::size_t k = parts.front().k;
    WeightMatrix out(n, k, format);
    const std::size_t padded = padded_inputs(k, format);
    const std::size_t lanes = lanes_of(padded, format);
    const std::size_t words = padded + kPanel * lanes;  // of one thread
    const auto scratch = pool.scratch(pool.threads() * words * sizeof(std::uint32_t));
    // The lanes of an empty output: zero, whatever its scale.
    const std::uint32_t nothing = format == WeightFormat::kInt8 ? 0x80808080U : 0;
    // One place per thread; ranges ascend with the thread, so the first one is the lowest.
    std::vector<std::size_t> bad_outputs(pool.threads(), kNone);
    pool.run(out.panel_count(), [&](std::size_t begin, std::size_t end, std::size_t thread) {
        auto* floats = reinterpret_cast<float*>(scratch.data()) + thread * words;
        auto* rows = reinterpret_cast<std::uint32_t*>(floats + padded);
        std::fill_n(floats, padded, 0.0F);
        for (std::size_t p = begin; p < end; ++p) {
            const std::size_t present = std::min(kPanel, n - p * kPanel);
            std::fill_n(rows + present * lanes, (kPanel - present) * lanes, nothing);
            for (std::size_t j = 0; j < present; ++j) {
                const auto [part, index] = part_of(parts, p * kPanel + j);
                float* scale =
                    format == WeightFormat::kInt8 ? &out.scales_[p * kPanel + j] : nullptr;
                if (!make_row(*part, index, format, {floats, rows + j * lanes, padded}, scale)) {
                    bad_outputs[thread] = p * kPanel + j;
                    return;
                }
            }
            std::byte* panel = out.panels_.data() + p * out.panel_bytes();
            if (format == WeightFormat::kInt4) {
                kernels().int4_panel(reinterpret_cast<const float*>(rows), padded, panel);
            } else {
                interleave(rows, lanes, panel);
            }
        }
    });
    const auto bad = std::find_if(bad_outputs.begin(), bad_outputs.end(),
                                  [](std::size_t output) { return output != kNone; });
    if (bad != bad_outputs.end())
        return fail(ErrorCode::data_invalid,
                    "a weight of output " + std::to_string(*bad) + " is not a finite number");
    return out;
}

void WeightMatrix::row(std::size_t index, float* to) const {
    const std::byte* panel = panels_.data() + index / kPanel * panel_bytes();
    const std::size_t j = index % kPanel;
    for (std::size_t i = 0; i < k_; ++i) {
        switch (format_) {
            case WeightFormat::kF32:
                std::memcpy(to + i, panel + (i * kPanel + j) * 4, 4);
                break;
            case WeightFormat::kBf16:
                to[i] = from_bf16(half_at(panel + ((i / 2 * kPanel + j) * 2 + i % 2) * 2));
                break;
            case WeightFormat::kInt8: {
                const auto level = static_cast<int>(panel[(i / 4 * kPanel + j) * 4 + i % 4]);
                to[i] = static_cast<float>(level - 128) * scales_[index];
                break;
            }
            case WeightFormat::kInt4: {
                const std::byte* group = panel + i / kGroup * kInt4GroupBytes;
                const std::size_t in = i % kGroup;
                const auto both =
                    static_cast<unsigned>(group[2 * kPanel + (in / 8 * kPanel + j) * 4 + in % 4]);
                const auto level = static_cast<int>(in % 8 < 4 ? both & 15U : both >> 4U);
                to[i] = static_cast<float>(level - 8) * from_bf16(half_at(group + 2 * j));
                break;
            }
        }
    }
}

}  // namespace worker::kernels

// SPDX-License-Identifier: Apache-2.0
/// What the CPU kernels reach of the machine: one token's linear layers of a 1.1 B Llama against
/// the memory's read rate, and larger batches against the arithmetic of both cores.
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/cpu.hpp"
#include "tests/bench/kernels/limits.hpp"
#include "tests/bench/report.hpp"
#include "worker/kernels/aligned_bytes.hpp"
#include "worker/kernels/instruction_set.hpp"
#include "worker/kernels/linear.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace worker::kernels;

constexpr std::size_t kLayers = 22;
constexpr std::size_t kWidth = 2048;
constexpr std::size_t kWide = 5632;
constexpr std::size_t kKeysAndValues = 512;
constexpr std::size_t kVocabulary = 32000;

struct Sides {
    std::size_t n;
    std::size_t k;
};
constexpr Sides kLayer[] = {
    {kWidth + kKeysAndValues, kWidth}, {kWidth, kWidth}, {2 * kWide, kWidth}, {kWidth, kWide}};
constexpr Sides kHead = {kVocabulary, kWidth};

double seconds_of(auto&& work) {
    const std::uint64_t begin = bench::now_ns();
    work();
    return static_cast<double>(bench::now_ns() - begin) * 1e-9;
}

/// Every matrix that one token meets, in order, over memory of its own.
class Model {
 public:
    Model(WeightFormat format, Pool& pool) {
        bench::Random random(1);
        std::vector<std::uint16_t> source(kVocabulary * kWidth);
        // bf16 of about ±0.02
        for (auto& bits : source)
            bits = static_cast<std::uint16_t>(0x3C00U + (random.next() & 0x80FFU));
        const auto add = [&](Sides sides) {
            const auto bytes = std::as_bytes(std::span(source)).first(sides.n * sides.k * 2);
            auto matrix = WeightMatrix::pack(
                {bytes, SourceType::kBf16, SourceOrder::kOutIn, sides.n, sides.k}, format, pool);
            if (!matrix) std::abort();
            matrices_.push_back(std::move(*matrix));
        };
        for (std::size_t layer = 0; layer < kLayers; ++layer)
            for (const Sides& sides : kLayer)
                add(sides);
        add(kHead);
    }

    /// Seconds for one pass of `rows` tokens.
    double pass(std::size_t rows, Pool& pool) {
        x_.resize(rows * kWide);
        for (std::size_t i = 0; i < x_.size(); ++i)
            x_[i] = static_cast<float>(i % 97) * 0.01F - 0.5F;
        y_.resize(rows * kVocabulary);
        return seconds_of([&] {
            for (const WeightMatrix& matrix : matrices_)
                linear(x_.data(), rows, matrix, nullptr, y_.data(), pool);
        });
    }

    [[nodiscard]] double bytes() const {
        double out = 0;
        for (const WeightMatrix& matrix : matrices_)
            out += static_cast<double>(matrix.bytes());
        return out;
    }
    [[nodiscard]] double operations() const {
        double out = 0;
        for (const WeightMatrix& matrix : matrices_)
            out += 2.0 * static_cast<double>(matrix.n() * matrix.k());
        return out;
    }

 private:
    std::vector<WeightMatrix> matrices_;
    std::vector<float> x_;
    std::vector<float> y_;
};

/// Bytes a second that all threads read together.
double read_rate(const AlignedBytes& memory, Pool& pool) {
    std::uint64_t keep = 0;
    const std::size_t part = memory.size() / pool.threads();
    const double seconds = seconds_of([&] {
        pool.run(pool.threads(), [&](std::size_t begin, std::size_t end, std::size_t thread) {
            const std::uint64_t sum =
                bench::read_all({memory.data() + begin * part, (end - begin) * part});
            if (thread == 0) keep = sum;
        });
    });
    if (keep == 1) std::puts("");
    return static_cast<double>(part * pool.threads()) / seconds;
}

/// Operations a second of all threads together, from `work` on each.
template <typename Work>
double arithmetic_rate(Pool& pool, Work&& work) {
    std::vector<bench::Arithmetic> done(pool.threads());
    const double seconds = seconds_of([&] {
        pool.run(pool.threads(), [&](std::size_t begin, std::size_t, std::size_t) {
            done[begin] = work(std::size_t{4'000'000});
        });
    });
    double operations = 0;
    for (const auto& part : done)
        operations += part.keep == 1.0F ? 0.0 : part.operations;
    return operations / seconds;
}

/// One row against the read rate, in turns.
void one_row(const std::string& name, double goal, Model& model, Pool& pool,
             const AlignedBytes& memory, bench::Report& report) {
    const auto got = bench::compare(
        9, [&] { return model.bytes() / model.pass(1, pool); },
        [&] { return read_rate(memory, pool); });
    fmt::print("{:5} 1 row    {:6.1f} tokens/s  {:5.1f} GB/s of {:5.1f}  {:5.1f} %\n", name,
               got.ours / model.bytes(), got.ours * 1e-9, got.limit * 1e-9, got.ratio * 100);
    report.metric(name + "_row1_tokens_per_s", got.ours / model.bytes());
    report.metric(name + "_row1_gb_per_s", got.ours * 1e-9);
    report.goal(name + "_row1_of_read_rate", got.ratio, goal, "ratio", bench::Better::kHigher);
}

void many_rows(const std::string& name, Model& model, Pool& pool, bench::Report& report) {
    const bool integers = name != "bf16";
    for (const std::size_t rows : {8U, 16U, 64U, 128U}) {
        const auto got = bench::compare(
            rows < 64 ? 5 : 3,
            [&] { return model.operations() * static_cast<double>(rows) / model.pass(rows, pool); },
            [&] {
                return integers ? arithmetic_rate(pool, bench::multiply_integers)
                                : arithmetic_rate(pool, bench::multiply_floats);
            });
        const double tokens = got.ours / model.operations();
        fmt::print("{:5} {:3} rows {:6.1f} tokens/s  {:5.0f} GOP/s of {:5.0f}  {:5.1f} %\n", name,
                   rows, tokens, got.ours * 1e-9, got.limit * 1e-9, got.ratio * 100);
        report.metric(fmt::format("{}_row{}_tokens_per_s", name, rows), tokens);
        report.metric(fmt::format("{}_row{}_gop_per_s", name, rows), got.ours * 1e-9);
        report.metric(fmt::format("{}_row{}_of_peak", name, rows), got.ratio);
        if (name == "int8" && rows == 16)
            report.goal("int8_row16_tokens_per_s", tokens, 100, "tokens/s", bench::Better::kHigher);
        if (name == "int8" && rows == 128)
            report.goal("int8_row128_tokens_per_s", tokens, 130, "tokens/s",
                        bench::Better::kHigher);
    }
}

struct Plan {
    WeightFormat format;
    double goal;
};

}  // namespace

/// Arguments: formats to measure, all by default.
int main(int argc, char** argv) {
    const std::vector<std::string_view> wanted(argv + 1, argv + argc);
    Pool pool(ledger::base::cpu_count());
    bench::Report report("kernels");
    const std::size_t size = std::size_t{1} << 30U;
    AlignedBytes memory(size);
    std::memset(memory.data(), 3, size);
    fmt::print("{} threads, {}\n", pool.threads(), to_string(instruction_set()));
    report.metric("threads", static_cast<double>(pool.threads()));
    for (const Plan& plan : {Plan{WeightFormat::kBf16, 0.85}, Plan{WeightFormat::kInt8, 0.80},
                             Plan{WeightFormat::kInt4, 0.70}}) {
        const std::string name(to_string(plan.format));
        if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), name) == wanted.end())
            continue;
        const std::uint64_t begin = bench::now_ns();
        Model model(plan.format, pool);
        report.metric(name + "_pack_s", static_cast<double>(bench::now_ns() - begin) * 1e-9);
        fmt::print("{:5} packed in {:.1f} s, {:.2f} GB\n", name,
                   static_cast<double>(bench::now_ns() - begin) * 1e-9, model.bytes() * 1e-9);
        report.metric(name + "_gb", model.bytes() * 1e-9);
        one_row(name, plan.goal, model, pool, memory, report);
        many_rows(name, model, pool, report);
    }
    fmt::print("{}\n", report.json());
    return 0;
}

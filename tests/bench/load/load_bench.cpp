// SPDX-License-Identifier: Apache-2.0
// A gigabyte of safetensors from its file to a model that can answer, beside reading the same file.
// The file is in the system's cache, as it is right after a worker has fetched and hashed it, and
// once more after the system was asked to drop it.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace {

namespace kernels = worker::kernels;
using kernels::WeightFormat;

constexpr int kLayers = 9;  // 1.06 GB
constexpr int kRounds = 3;
constexpr std::array<WeightFormat, 3> kFormats{WeightFormat::kBf16, WeightFormat::kInt8,
                                               WeightFormat::kInt4};

class File {
 public:
    explicit File(const std::filesystem::path& path) : fd_(::open(path.c_str(), O_RDONLY)) {
        MR_CHECK(fd_ >= 0);
    }
    ~File() { ::close(fd_); }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    /// Seconds that reading all of it into one buffer, piece by piece, takes.
    [[nodiscard]] double read_seconds() const {
        std::vector<char> piece(std::size_t{1} << 20U);
        const auto start = std::chrono::steady_clock::now();
        ssize_t got = 0;
        for (off_t offset = 0; (got = ::pread(fd_, piece.data(), piece.size(), offset)) > 0;)
            offset += got;
        MR_CHECK(got == 0);
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    /// Asks the system to drop it from its cache.
    void drop() const {
        MR_CHECK(::fdatasync(fd_) == 0);
        MR_CHECK(::posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED) == 0);
    }

 private:
    int fd_;
};

struct Load {
    double seconds = 0;
    double memory = 0;
};
Load load(const bench::LlamaFolder& folder, WeightFormat format, kernels::Pool& pool) {
    ::malloc_trim(0);  // what earlier models left would hide what this one takes
    const bench::Llama llama(folder, format, pool, 16);
    return {llama.load_seconds, llama.load_memory};
}

}  // namespace

int main() {
    bench::Report report("load");
    kernels::Pool pool(ledger::base::cpu_count());
    const bench::LlamaFolder folder(kLayers);
    const auto path = folder.path() / "model.safetensors";
    const File file(path);
    const auto bytes = static_cast<double>(std::filesystem::file_size(path));
    for (const bool cached : {true, false}) {
        const std::string where = cached ? "cached" : "dropped";
        std::vector<double> reads;
        std::map<WeightFormat, std::vector<double>> seconds;
        std::map<WeightFormat, std::vector<double>> ratios;
        std::map<WeightFormat, double> memory;
        const auto prepare = [&] {
            if (!cached) file.drop();
        };
        static_cast<void>(file.read_seconds());
        for (int round = 0; round < kRounds; ++round) {
            prepare();
            reads.push_back(file.read_seconds());
            for (const WeightFormat format : kFormats) {
                prepare();
                const Load one = load(folder, format, pool);
                seconds[format].push_back(one.seconds);
                ratios[format].push_back(one.seconds / reads.back());
                memory[format] = std::max(memory[format], one.memory);
            }
        }
        fmt::print("{}: {:.2f} GB read in {:.2f} s\n", where, bytes / 1e9, bench::median(reads));
        report.metric("read_s_" + where, bench::median(reads));
        for (const WeightFormat format : kFormats) {
            const std::string name = fmt::format("{}_{}", kernels::to_string(format), where);
            fmt::print("  {:4} ready in {:.2f} s, {:.2f} x the reading; {:.2f} x its memory\n",
                       kernels::to_string(format), bench::median(seconds[format]),
                       bench::median(ratios[format]), memory[format]);
            report.metric("load_s_" + name, bench::median(seconds[format]));
            report.goal("load_over_read_" + name, bench::median(ratios[format]), 1.2, "ratio",
                        bench::Better::kLower);
            report.goal("load_memory_" + name, memory[format], 1.1, "ratio", bench::Better::kLower);
        }
    }
    fmt::print("{}\n", report.json());
    return 0;
}

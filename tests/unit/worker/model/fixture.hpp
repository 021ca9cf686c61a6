// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "worker/model/training.hpp"

#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace worker::model::test {

/// A folder that goes away with the test.
class TempDir {
 public:
    TempDir() {
        std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TempDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;

    [[nodiscard]] std::filesystem::path operator/(std::string_view name) const {
        return path_ / name;
    }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }
    std::filesystem::path write(std::string_view name, std::string_view content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return path_ / name;
    }

 private:
    std::filesystem::path path_;
};

inline std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

/// Text with structure that a model learns fast.
inline std::string sample_text(std::size_t size) {
    std::string out;
    for (std::size_t i = 0; out.size() < size; ++i)
        out += "line " + std::to_string(i * 7919 % 1000) + " of the river runs to the sea.\n";
    out.resize(size);
    return out;
}

inline TrainSpec tiny_gpt() {
    TrainSpec spec;
    spec.model = GptShape{256, 16, 2, 2, 8};
    spec.data = TextData{};
    spec.holdout_bp = 1000;
    spec.batch = 4;
    spec.steps = 12;
    spec.segment_steps = 3;
    spec.eval_batches = 2;
    spec.learning_rate = 0.003;
    spec.warmup_steps = 2;
    spec.weight_decay = 0.01;
    spec.seed = 7;
    return spec;
}

/// Digits drawn from a 5 × 7 font with shifts and noise, as IDX files.
struct Digits {
    std::string images;
    std::string labels;
};
Digits make_digits(std::uint32_t count, std::uint64_t seed);

}  // namespace worker::model::test

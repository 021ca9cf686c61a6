// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/kernels/aligned_bytes.hpp"
#include "worker/kernels/pool.hpp"
#include "worker/model/decoder.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

/// A Llama of 1.1 billion random weights (speed does not depend on their values): 2048 wide, 22
/// layers, 32 heads, 4 key-value heads, FFN 5632, vocabulary 32,000.
namespace bench {

/// The model's folder with bf16 weights, 2.2 GB (262 MB and 88 MB a layer) under $TMPDIR, gone at
/// the end.
class LlamaFolder {
 public:
    explicit LlamaFolder(int layers = 22);
    ~LlamaFolder();
    LlamaFolder(const LlamaFolder&) = delete;
    LlamaFolder& operator=(const LlamaFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
    std::filesystem::path path_;
};

/// The model in one format with a cache of its own, and what loading it took.
struct Llama {
    Llama(const LlamaFolder& folder, worker::kernels::WeightFormat format,
          worker::kernels::Pool& pool, std::uint32_t cache_pages);

    /// The likeliest token after each sequence's row.
    [[nodiscard]] std::vector<std::uint32_t> next(
        std::span<const worker::model::DecoderRow> rows) const;

    /// Weights that one token reads: all but the table it is looked up in.
    [[nodiscard]] double bytes_a_token() const;

    std::shared_ptr<const worker::model::DecoderModel> weights;
    std::unique_ptr<worker::model::KvCache> cache;
    std::unique_ptr<worker::model::Decoder> decoder;
    double load_seconds = 0;
    double load_memory = 0;  // most memory taken meanwhile, over that of the weights
};

/// Tokens that are not all alike.
[[nodiscard]] std::vector<std::uint32_t> some_prompt(std::size_t count, std::uint32_t start);

/// Tokens a second of `streams` texts at once after prompts of 16; the cache has two pages for
/// each.
[[nodiscard]] double batch_rate(const Llama& llama, std::size_t streams);

/// Bytes a second that all threads of the pool read from a memory of 1 GiB.
class ReadRate {
 public:
    explicit ReadRate(worker::kernels::Pool& pool);
    [[nodiscard]] double measure();

 private:
    worker::kernels::Pool& pool_;
    worker::kernels::AlignedBytes memory_;
};

}  // namespace bench

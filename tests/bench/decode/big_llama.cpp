// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/decode/big_llama.hpp"

#include "ledger/base/check.hpp"
#include "tests/bench/kernels/limits.hpp"
#include "worker/model/hf_config.hpp"
#include "worker/model/model_folder.hpp"
#include "worker/model/philox.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <stop_token>
#include <string>
#include <thread>

namespace bench {

namespace model = worker::model;
namespace kernels = worker::kernels;
using Clock = std::chrono::steady_clock;

namespace {

constexpr std::string_view kConfig = R"({{"architectures":["LlamaForCausalLM"],
    "model_type":"llama","vocab_size":32000,"hidden_size":2048,"num_hidden_layers":{},
    "num_attention_heads":32,"num_key_value_heads":4,"intermediate_size":5632,
    "max_position_embeddings":2048,"rms_norm_eps":1e-5,"rope_theta":10000.0,"hidden_act":"silu",
    "tie_word_embeddings":false}})";

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// bf16 numbers between -0.04 and 0.04, enough for the largest tensor.
std::vector<std::uint16_t> random_weights(std::size_t count) {
    const model::Philox random(1, model::Philox::Stream::kInit);
    std::vector<std::uint16_t> out(count);
    for (std::size_t i = 0; i < count; i += 4) {
        const auto block = random.block(i, 0);
        for (std::size_t j = 0; j < 4 && i + j < count; ++j) {
            const auto value =
                static_cast<float>(static_cast<std::int32_t>(block[j])) * (0.04F / 2147483648.0F);
            out[i + j] = static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(value) >> 16U);
        }
    }
    return out;
}

/// A value of /proc/self/status, in bytes.
double status_bytes(const char* name) {
    std::ifstream in("/proc/self/status");
    std::string line;
    while (std::getline(in, line))
        if (line.starts_with(name))
            return 1024.0 * std::strtod(line.c_str() + line.find(':') + 1, nullptr);
    return 0;
}

/// The most memory of the process's own (not of mapped files, which the system can drop) at any
/// time of this object's life, looked at every few milliseconds.
class PeakMemory {
 public:
    PeakMemory()
        : thread_([this](const std::stop_token& stop) {
              while (!stop.stop_requested()) {
                  peak_ = std::max(peak_, status_bytes("RssAnon"));
                  std::this_thread::sleep_for(std::chrono::milliseconds(3));
              }
          }) {}
    [[nodiscard]] double bytes() {
        thread_.request_stop();
        thread_.join();
        return peak_;
    }

 private:
    double peak_ = 0;  // the thread's until it is joined
    std::jthread thread_;
};

}  // namespace

LlamaFolder::LlamaFolder(int layers) {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
    MR_CHECK(::mkdtemp(name.data()) != nullptr);
    path_ = name;
    std::ofstream(path_ / "config.json") << fmt::format(kConfig, layers);
    const auto values = random_weights(std::size_t{32000} * 2048);
    const std::vector<std::uint16_t> ones(2048, 0x3F80);
    std::vector<model::TensorView> tensors;
    const auto add = [&](const std::string& tensor, std::vector<std::int64_t> shape) {
        std::size_t count = 1;
        for (const std::int64_t extent : shape)
            count *= static_cast<std::size_t>(extent);
        const auto* data = shape.size() == 1 ? ones.data() : values.data();
        tensors.push_back({tensor,
                           model::Dtype::kBf16,
                           std::move(shape),
                           {reinterpret_cast<const std::uint8_t*>(data), 2 * count}});
    };
    add("model.embed_tokens.weight", {32000, 2048});
    for (int i = 0; i < layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        add(layer + "input_layernorm.weight", {2048});
        add(layer + "post_attention_layernorm.weight", {2048});
        add(layer + "self_attn.q_proj.weight", {2048, 2048});
        add(layer + "self_attn.k_proj.weight", {256, 2048});
        add(layer + "self_attn.v_proj.weight", {256, 2048});
        add(layer + "self_attn.o_proj.weight", {2048, 2048});
        add(layer + "mlp.gate_proj.weight", {5632, 2048});
        add(layer + "mlp.up_proj.weight", {5632, 2048});
        add(layer + "mlp.down_proj.weight", {2048, 5632});
    }
    add("model.norm.weight", {2048});
    add("lm_head.weight", {32000, 2048});
    const auto written = model::write_safetensors(path_ / "model.safetensors", tensors, {});
    MR_CHECK(written.has_value());
}

LlamaFolder::~LlamaFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

Llama::Llama(const LlamaFolder& folder, kernels::WeightFormat format, kernels::Pool& pool,
             std::uint32_t cache_pages) {
    const double before = status_bytes("RssAnon");
    PeakMemory peak;
    const auto start = Clock::now();
    const auto opened = model::ModelFolder::open(folder.path());
    MR_CHECK(opened.has_value());
    const auto config = model::parse_hf_config(opened->config);
    MR_CHECK(config.has_value());
    auto loaded = model::DecoderModel::load(*config, opened->tensors, format, pool);
    MR_CHECK(loaded.has_value());
    load_seconds = seconds_since(start);
    weights = std::move(*loaded);
    load_memory = (peak.bytes() - before) / static_cast<double>(weights->bytes());
    cache = std::make_unique<model::KvCache>(
        weights->config, model::KvCache::Options{cache_pages, kernels::KvType::kBf16});
    decoder = std::make_unique<model::Decoder>(weights, *cache, pool);
}

std::vector<std::uint32_t> Llama::next(std::span<const model::DecoderRow> rows) const {
    const auto logits = decoder->logits(rows);
    const std::size_t vocab = weights->config.vocab;
    std::vector<std::uint32_t> out;
    for (std::size_t r = 0; r * vocab < logits.size(); ++r) {
        const auto row = logits.subspan(r * vocab, vocab);
        out.push_back(
            static_cast<std::uint32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
    return out;
}

double Llama::bytes_a_token() const {
    return static_cast<double>(weights->bytes() - weights->embedding.bytes());
}

std::vector<std::uint32_t> some_prompt(std::size_t count, std::uint32_t start) {
    std::vector<std::uint32_t> out;
    for (std::uint32_t i = 0; i < count; ++i)
        out.push_back((start + i * 7919 + i * i * 31) % 32000);
    return out;
}

double batch_rate(const Llama& llama, std::size_t streams) {
    constexpr std::uint32_t kPrompt = 16;
    constexpr std::uint32_t kTokens = 12;
    std::vector<model::KvSequence> sequences;
    std::vector<model::DecoderRow> rows;
    for (std::uint32_t s = 0; s < streams; ++s) {
        const auto tokens = some_prompt(kPrompt, s);
        auto begun = llama.cache->begin(tokens, kPrompt + kTokens);
        MR_CHECK(begun.has_value());
        sequences.push_back(std::move(*begun));
        for (std::uint32_t i = 0; i < kPrompt; ++i)
            rows.push_back({tokens[i], i, nullptr, i + 1 == kPrompt});
    }
    for (std::size_t i = 0; i < rows.size(); ++i)
        rows[i].sequence = &sequences[i / kPrompt];
    auto tokens = llama.next(rows);
    const auto start = Clock::now();
    for (std::uint32_t i = 0; i < kTokens; ++i) {
        rows.clear();
        for (std::size_t s = 0; s < streams; ++s)
            rows.push_back({tokens[s], kPrompt + i, &sequences[s], true});
        tokens = llama.next(rows);
    }
    const std::chrono::duration<double> passed = Clock::now() - start;
    return static_cast<double>(streams * kTokens) / passed.count();
}

ReadRate::ReadRate(kernels::Pool& pool) : pool_(pool), memory_(std::size_t{1} << 30U) {
    std::memset(memory_.data(), 1, memory_.size());
}

double ReadRate::measure() {
    std::array<std::uint64_t, kernels::Pool::kThreadsMax> sums{};
    const auto start = Clock::now();
    pool_.run(memory_.size() >> 20U, [&](std::size_t begin, std::size_t end, std::size_t thread) {
        sums[thread] = read_all({memory_.data() + (begin << 20U), (end - begin) << 20U});
    });
    const double seconds = seconds_since(start);
    MR_CHECK(sums[0] != 0);
    return static_cast<double>(memory_.size()) / seconds;
}

}  // namespace bench

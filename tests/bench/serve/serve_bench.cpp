// SPDX-License-Identifier: Apache-2.0
// Eight clients of a 1.1 B Llama in int8 that arrive at once, each with three prompts of 64 tokens
// one after another, so that prompts join texts under way. First through the worker's child process
// alone, then (serve_market.mjs) through a whole market, with its metering and receipts.
#include "ledger/base/check.hpp"
#include "ledger/base/cpu_count.hpp"
#include "ledger/base/hex.hpp"
#include "tests/bench/decode/big_llama.hpp"
#include "tests/bench/report.hpp"
#include "worker/executor/process_executor.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

namespace executor = worker::executor;
namespace kernels = worker::kernels;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kClients = 8;
constexpr std::size_t kTurns = 3;
constexpr std::size_t kPrompt = 64;
constexpr std::uint32_t kVocab = 32000;

std::uint32_t tokens_of(std::size_t client) {
    return static_cast<std::uint32_t>(40 + 4 * client);
}

/// A letter of byte-level tokenizers' alphabet, as UTF-8 in a JSON text.
std::string letter(unsigned byte, unsigned& beyond) {
    const bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    const unsigned code = shown ? byte : 0x100 + beyond++;
    if (code == '"' || code == '\\') return {'\\', static_cast<char>(code)};
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xC0 | (code >> 6U)), static_cast<char>(0x80 | (code & 0x3FU))};
}

/// A token for each byte and words that nothing is ever merged to.
void write_tokenizer(const std::filesystem::path& folder) {
    std::string vocab;
    unsigned beyond = 0;
    for (unsigned byte = 0; byte < 256; ++byte)
        vocab += fmt::format(R"("{}":{},)", letter(byte, beyond), byte);
    for (std::uint32_t token = 256; token < kVocab; ++token)
        vocab += fmt::format(R"("w{0}":{0}{1})", token, token + 1 < kVocab ? "," : "");
    constexpr const char* kLevel =
        R"({"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true})";
    std::ofstream(folder / "tokenizer.json") << fmt::format(
        R"({{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],)"
        R"("normalizer":null,"pre_tokenizer":{0},"post_processor":null,"decoder":{0},)"
        R"("model":{{"type":"BPE","dropout":null,"unk_token":null,)"
        R"("continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false,)"
        R"("byte_fallback":false,"ignore_merges":false,"vocab":{{{1}}},"merges":[]}}}})",
        kLevel, vocab);
}

/// Of one request, by the clock of its client.
struct Timeline {
    Clock::time_point asked;
    std::vector<std::pair<std::uint32_t, Clock::time_point>> pieces;  // token index, when it came
    bool done = false;
};

/// What the child said, by request.
class Ear {
 public:
    void on_event(const executor::JobEvent& event) {
        const auto now = Clock::now();
        const std::lock_guard lock(mutex_);
        if (std::holds_alternative<executor::Ready>(event)) ready_ = true;
        if (const auto* token = std::get_if<executor::Token>(&event))
            requests_[token->id].pieces.emplace_back(token->piece.index, now);
        if (const auto* done = std::get_if<executor::GenerationDone>(&event)) {
            MR_CHECK(done->prompt_tokens == kPrompt);
            requests_[done->id].done = true;
            ended_.push_back(done->id);
        }
        MR_CHECK(!std::holds_alternative<executor::GenerationRefused>(event));
        if (const auto* failed = std::get_if<executor::Failed>(&event))
            MR_CHECK(failed->error.code() == ledger::base::ErrorCode::cancelled);
        wake_.notify_all();
    }
    void wait_ready() {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return ready_; });
    }
    void ask(const std::string& id) {
        const std::lock_guard lock(mutex_);
        requests_[id].asked = Clock::now();
    }
    /// The next request that has ended.
    std::string wait_end() {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return !ended_.empty(); });
        return std::exchange(ended_, {ended_.begin() + 1, ended_.end()}).front();
    }
    [[nodiscard]] std::map<std::string, Timeline> requests() {
        const std::lock_guard lock(mutex_);
        return requests_;
    }

 private:
    std::mutex mutex_;
    std::condition_variable wake_;
    bool ready_ = false;
    std::map<std::string, Timeline> requests_;
    std::vector<std::string> ended_;
};

double seconds(Clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

double percentile(std::vector<double> values, double share) {
    std::sort(values.begin(), values.end());
    return values[std::min(values.size() - 1,
                           static_cast<std::size_t>(share * static_cast<double>(values.size())))];
}

executor::GenerateRequest make_request(std::size_t client, std::size_t turn) {
    executor::GenerateRequest out;
    out.id = fmt::format("{}.{}", client, turn);
    for (std::size_t i = 0; i < kPrompt; ++i)  // no two begin alike
        out.prompt += static_cast<char>('a' + (client * 3 + turn * 7 + i * (client + 2)) % 26);
    out.params.max_tokens = tokens_of(client);
    out.params.temperature = 0;
    return out;
}

std::map<std::string, Timeline> serve(const bench::LlamaFolder& folder) {
    executor::ServeTask task;
    const std::string hash = ledger::base::to_hex(ledger::base::Hash32());
    task.spec_json = fmt::format(
        R"({{"files":{{"config.json":"{0}","model.safetensors":"{0}","tokenizer.json":"{0}"}},)"
        R"("kind":"infer.serve","name":"bench","version":1,"weights_format":"int8"}})",
        hash);
    task.folder = folder.path();
    task.job_dir = folder.path() / "job";
    std::filesystem::create_directories(task.job_dir);
    task.runtime.threads = static_cast<int>(ledger::base::cpu_count());
    Ear ear;
    const auto runner =
        executor::make_process_executor({MILLRACE_JOB, worker::sandbox::Mode::kNone, {}});
    auto job = runner->start_serve(task, [&](const executor::JobEvent& e) { ear.on_event(e); });
    MR_CHECK(job.has_value());
    ear.wait_ready();
    const auto ask = [&](std::size_t client, std::size_t turn) {
        const executor::GenerateRequest request = make_request(client, turn);
        ear.ask(request.id);
        MR_CHECK((*job)->generate(request).has_value());
    };
    for (std::size_t client = 0; client < kClients; ++client)
        ask(client, 0);
    for (std::size_t ended = 0; ended < kClients * kTurns; ++ended) {
        const std::string id = ear.wait_end();
        const auto client = static_cast<std::size_t>(id[0] - '0');
        const auto turn = static_cast<std::size_t>(id[2] - '0') + 1;
        if (turn < kTurns) ask(client, turn);
    }
    return ear.requests();
}

/// Tokens a second while all clients' first texts were under way, each client over the time between
/// two of its own tokens.
double steady_rate(const std::map<std::string, Timeline>& requests) {
    auto from = Clock::time_point::min();
    auto to = Clock::time_point::max();
    for (const auto& [id, one] : requests) {
        if (!id.ends_with(".0")) continue;
        from = std::max(from, one.pieces.front().second);
        to = std::min(to, one.pieces.back().second);
    }
    double rate = 0;
    for (const auto& [id, one] : requests) {
        if (!id.ends_with(".0")) continue;
        const auto first = std::find_if(one.pieces.begin(), one.pieces.end(),
                                        [&](const auto& piece) { return piece.second >= from; });
        const auto after = std::find_if(one.pieces.begin(), one.pieces.end(),
                                        [&](const auto& piece) { return piece.second > to; });
        if (after - first < 2) continue;  // a very busy machine: they did not run side by side
        const auto& last = *(after - 1);
        rate += (last.first - first->first) / seconds(last.second - first->second);
    }
    return rate;
}

/// Goes on as the part that has the market in it. Returns when there is no node.
void measure_market(const bench::LlamaFolder& folder, double batch, const bench::Report& report) {
    std::string node = "node";
    std::string script = "tests/bench/serve/serve_market.mjs";
    std::string path = folder.path().string();
    std::string rate = fmt::format("{:.3f}", batch);
    std::string so_far = report.json();
    std::array<char*, 6> arguments{node.data(), script.data(), path.data(),
                                   rate.data(), so_far.data(), nullptr};
    std::fflush(stdout);
    ::execvp(node.c_str(), arguments.data());
    std::perror("node (the market was not measured)");
}

}  // namespace

/// Argument: layers of the model, for a try that says nothing of the goals.
int main(int argc, char** argv) {
    bench::Report report("serve");
    const bench::LlamaFolder folder(argc > 1 ? std::atoi(argv[1]) : 22);
    write_tokenizer(folder.path());
    std::array<double, 2> batch{};  // of 8 and of 16
    {
        kernels::Pool pool(ledger::base::cpu_count());
        const bench::Llama llama(folder, kernels::WeightFormat::kInt8, pool, 64);
        for (int round = 0; round < 2; ++round) {
            batch[0] = std::max(batch[0], bench::batch_rate(llama, kClients));
            batch[1] = std::max(batch[1], bench::batch_rate(llama, 16));
        }
    }
    const auto requests = serve(folder);
    std::vector<double> first;
    std::vector<double> gaps;
    double tokens = 0;
    auto began = Clock::time_point::max();
    auto ended = Clock::time_point::min();
    for (const auto& [id, one] : requests) {
        MR_CHECK(one.done && !one.pieces.empty());
        if (id.ends_with(".0")) first.push_back(seconds(one.pieces.front().second - one.asked));
        began = std::min(began, one.asked);
        ended = std::max(ended, one.pieces.back().second);
        tokens += one.pieces.back().first + 1;
        for (std::size_t i = 1; i < one.pieces.size(); ++i)
            gaps.push_back(seconds(one.pieces[i].second - one.pieces[i - 1].second) /
                           (one.pieces[i].first - one.pieces[i - 1].first));
    }
    const double steady = steady_rate(requests);
    const double middle = bench::median(gaps);
    const double late = percentile(gaps, 0.99);
    fmt::print(
        "without HTTP: first token after {:.2f} s (p99 of {} at once); {:.1f} tokens/s with 8 "
        "texts under way, a batch of 8 {:.1f}, of 16 {:.1f}; {:.1f} tokens/s with all prompts; "
        "between tokens {:.0f} ms, p99 {:.0f} ms\n",
        percentile(first, 0.99), kClients, steady, batch[0], batch[1],
        tokens / seconds(ended - began), 1e3 * middle, 1e3 * late);
    report.metric("tokens_per_s", steady);
    report.metric("tokens_per_s_with_prompts", tokens / seconds(ended - began));
    report.metric("batch_16_tokens_per_s", batch[1]);
    report.goal("first_token_p99_s", percentile(first, 0.99), 2.5, "s", bench::Better::kLower);
    report.goal("share_of_batch_8", steady / batch[0], 0.9, "ratio", bench::Better::kHigher);
    report.goal("p99_over_median_between_tokens", late / middle, 2.0, "ratio",
                bench::Better::kLower);
    measure_market(folder, batch[0], report);
    fmt::print("{}\n", report.json());
    return 0;
}

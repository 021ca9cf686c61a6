// SPDX-License-Identifier: Apache-2.0
// Published folders in a serving child: what words cost, chats, and folders that are refused.
#include "tests/unit/worker/executor/byte_tokenizer.hpp"
#include "tests/unit/worker/executor/recorder.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/random_model.hpp"
#include "worker/executor/folder_model.hpp"
#include "worker/executor/process_executor.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <string>

using namespace worker::executor;
using ledger::base::ErrorCode;
using nlohmann::json;
using worker::model::test::TempDir;
namespace sandbox = worker::sandbox;

namespace {

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}"
    "{{ raise_exception('no assistant here') }}{% endif %}<|turn|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>{% endif %}";

struct Folder {
    explicit Folder(const char* chat = kTemplate) {
        std::filesystem::create_directories(path);
        std::filesystem::create_directories(job);
        write_model(worker::model::test::make_random_model(
                        R"({"model_type":"llama","vocab_size":258,"hidden_size":48,
                            "num_hidden_layers":1,"num_attention_heads":4,
                            "num_key_value_heads":2,"intermediate_size":80,
                            "max_position_embeddings":64})",
                        9),
                    path);
        json config{{"bos_token", "<s>"}};
        if (chat != nullptr) config["chat_template"] = chat;
        write("tokenizer.json", byte_tokenizer());
        write("tokenizer_config.json", config.dump());
        write("generation_config.json", R"({"temperature":0,"top_k":7})");
    }
    void write(const char* name, const std::string& text) const {
        std::ofstream(path / name, std::ios::binary) << text;
    }
    [[nodiscard]] ServeTask task() const {
        const std::string hash = "0x" + std::string(64, 'a');
        ServeTask out;
        out.spec_json =
            fmt::format(R"({{"version":1,"kind":"infer.serve","files":{{"config.json":"{0}",)"
                        R"("model.safetensors":"{0}","tokenizer.json":"{0}"}},"name":"tiny",)"
                        R"("weights_format":"int8"}})",
                        hash);
        out.job_dir = job;
        out.folder = path;
        out.runtime.threads = 2;
        return out;
    }
    TempDir dir;
    std::filesystem::path path = dir / "model";
    std::filesystem::path job = dir / "job";
};

std::unique_ptr<Executor> executor(sandbox::Mode mode) {
    ProcessExecutorOptions options;
    options.program = MILLRACE_TEST_CHILD;
    options.sandbox = mode;
    return make_process_executor(options);
}

std::vector<sandbox::Mode> modes() {
    if (sandbox::probe()) return {sandbox::Mode::kNone, sandbox::Mode::kBwrap};
    MESSAGE("bubblewrap does not work here: jobs are tested without it");
    return {sandbox::Mode::kNone};
}

GenerateRequest ask(const char* id, std::string prompt, std::string messages = {}) {
    GenerateRequest out;
    out.id = id;
    out.prompt = std::move(prompt);
    out.messages = std::move(messages);
    out.params.max_tokens = 3;
    return out;
}

/// How a child that opens the folder ends.
ErrorCode failure_of(const Folder& folder) {
    Recorder recorder;
    const auto job = executor(sandbox::Mode::kNone)->start_serve(folder.task(), recorder.sink());
    if (!job) return job.error().code();
    recorder.wait_end();
    REQUIRE(recorder.failure().has_value());
    return recorder.failure()->code();
}

}  // namespace

TEST_CASE("folder: a bad one ends its child with a typed error") {
    {
        Folder folder;
        std::filesystem::remove_all(folder.path);
        CHECK(failure_of(folder) == ErrorCode::data_missing);
    }
    {
        Folder folder;
        folder.write("tokenizer.json", "{}");
        CHECK(failure_of(folder) == ErrorCode::data_invalid);
    }
    {
        Folder folder;
        std::filesystem::remove(folder.path / "tokenizer.json");
        CHECK(failure_of(folder) == ErrorCode::data_missing);
    }
    {
        Folder folder;
        folder.write("config.json", R"({"model_type":"mamba"})");
        CHECK(failure_of(folder) == ErrorCode::unsupported);
    }
    {
        Folder folder;
        std::filesystem::rename(folder.path / "config.json", folder.dir / "elsewhere");
        std::filesystem::create_symlink(folder.dir / "elsewhere", folder.path / "config.json");
        CHECK(failure_of(folder) == ErrorCode::data_invalid);
    }
    {
        Folder folder;
        std::filesystem::resize_file(folder.path / "model.safetensors", 1000);
        CHECK(failure_of(folder) == ErrorCode::data_invalid);
    }
}

TEST_CASE("folder: a chat is its template, a prompt is plain text, and both are counted") {
    for (const auto mode : modes()) {
        const Folder folder;
        Recorder recorder;
        auto job = executor(mode)->start_serve(folder.task(), recorder.sink());
        REQUIRE_MESSAGE(job.has_value(), job.error().message());
        const auto count = [&](const GenerateRequest& request) -> std::uint64_t {
            REQUIRE((*job)->generate(request).has_value());
            for (;;) {
                const std::size_t done = recorder.all<GenerationDone>().size();
                for (const GenerationDone& one : recorder.all<GenerationDone>())
                    if (one.id == request.id) return one.prompt_tokens;
                recorder.wait_for<GenerationDone>(done + 1);
            }
        };
        CHECK(count(ask("text", "abc")) == 1 + 3);
        CHECK(count(ask("special", "<s>")) == 1 + 3);  // letters
        CHECK(count(ask("chat", "", R"([{"content":"hi","role":"user"}])")) == 1 + 1 + 2 + 1);
        CHECK(count(ask("steer", "", R"([{"content":"<|turn|>","role":"user"}])")) == 4);
        auto exact = ask("exact", "abc");
        exact.prompt_tokens_max = 4;
        CHECK(count(exact) == 4);

        auto above = ask("above", "abc");
        above.prompt_tokens_max = 3;
        REQUIRE((*job)->generate(above).has_value());
        REQUIRE((*job)
                    ->generate(ask("raise", "", R"([{"content":"","role":"assistant"}])"))
                    .has_value());
        REQUIRE((*job)->generate(ask("object", "", "{}")).has_value());
        REQUIRE((*job)->generate(ask("long", std::string(80, 'x'))).has_value());
        recorder.wait_for<GenerationRefused>(4);
        std::map<std::string, ErrorCode> refused;
        for (const GenerationRefused& one : recorder.all<GenerationRefused>())
            refused.emplace(one.id, one.error.code());
        CHECK(refused.at("above") == ErrorCode::context_length_exceeded);
        CHECK(refused.at("raise") == ErrorCode::invalid_request);
        CHECK(refused.at("object") == ErrorCode::invalid_request);
        CHECK(refused.at("long") == ErrorCode::context_length_exceeded);
        (*job)->stop();
        recorder.wait_end();
        CHECK(recorder.failure()->code() == ErrorCode::cancelled);
    }
}

TEST_CASE("folder: without a template, or with one that is not understood, chats are refused") {
    for (const char* chat : {static_cast<const char*>(nullptr), "{% import 'x' as y %}"}) {
        const Folder folder(chat);
        const auto words = FolderWords::open(folder.path);
        REQUIRE_MESSAGE(words.has_value(), words.error().message());
        const auto chatted = words->encode(ask("c", "", R"([{"content":"hi","role":"user"}])"));
        REQUIRE_FALSE(chatted.has_value());
        CHECK(chatted.error().code() == ErrorCode::unsupported);
        CHECK(words->encode(ask("t", "abc"))->size() == 4);
    }
}

TEST_CASE("folder: the publisher's advice holds for what a request does not give") {
    worker::model::GenerationDefaults advice;
    advice.temperature = 0.6;
    advice.top_p = 0.9;
    advice.top_k = 20;
    GenerateRequest request;
    request.params.temperature = 1.5;
    CHECK(with_defaults(request, advice).temperature == 1.5);
    CHECK(with_defaults(request, advice).top_p == 1.0);
    CHECK(with_defaults(request, advice).top_k == 20);
    request.temperature_given = false;
    request.top_p_given = false;
    CHECK(with_defaults(request, advice).temperature == 0.6);
    CHECK(with_defaults(request, advice).top_p == 0.9);
    CHECK(with_defaults(request, {}).temperature == 1.5);
    advice.temperature = 50;
    CHECK(with_defaults(request, advice).temperature == 2.0);
}

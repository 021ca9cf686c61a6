// SPDX-License-Identifier: Apache-2.0
// Fine-tuning jobs: what a line teaches, lines that are refused, and a whole job in its child.
#include "tests/unit/worker/executor/byte_tokenizer.hpp"
#include "tests/unit/worker/executor/recorder.hpp"
#include "tests/unit/worker/model/fixture.hpp"
#include "tests/unit/worker/model/random_model.hpp"
#include "worker/executor/finetune_data.hpp"
#include "worker/executor/process_executor.hpp"
#include "worker/model/model_spec.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <string>

using namespace worker::executor;
using ledger::base::ErrorCode;
using nlohmann::json;
using worker::model::ExampleSet;
using worker::model::test::read_file;
using worker::model::test::TempDir;
namespace sandbox = worker::sandbox;

namespace {

constexpr const char* kTemplate =
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m.role }}:{{ m.content }}{% if m.role == "
    "'assistant' %}<s>{% endif %}{% endfor %}{% if add_generation_prompt %}<|turn|>assistant:"
    "{% endif %}";
/// Writes earlier answers without what stands before their '/'.
constexpr const char* kForgetful =
    "{% for m in messages %}<|turn|>{% if m.role == 'assistant' %}a:{% if loop.last %}"
    "{{ m.content }}{% else %}{{ m.content.split('/')[-1] }}{% endif %}{% else %}{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|turn|>a:{% endif %}";

struct Setup {
    explicit Setup(const char* chat = kTemplate) {
        std::filesystem::create_directories(path);
        std::filesystem::create_directories(job);
        write_model(worker::model::test::make_random_model(
                        R"({"model_type":"llama","vocab_size":258,"hidden_size":32,
                            "num_hidden_layers":1,"num_attention_heads":4,
                            "num_key_value_heads":2,"intermediate_size":48,
                            "max_position_embeddings":128})",
                        9, worker::model::Dtype::kF32, 0.7),
                    path);
        json config{{"bos_token", "<s>"}, {"eos_token", "<s>"}};
        if (chat != nullptr) config["chat_template"] = chat;
        write(path / "tokenizer.json", byte_tokenizer());
        write(path / "tokenizer_config.json", config.dump());
    }
    static void write(const std::filesystem::path& file, const std::string& text) {
        std::ofstream(file, std::ios::binary) << text;
    }
    [[nodiscard]] FolderWords words() const {
        auto out = FolderWords::open(path);
        REQUIRE_MESSAGE(out.has_value(), out.error().message());
        return std::move(*out);
    }
    [[nodiscard]] TrainTask task(const json& change = json::object()) const {
        const std::string hash = "0x" + std::string(64, 'a');
        json spec{
            {"version", 1},
            {"kind", "finetune"},
            {"files",
             {{"config.json", hash}, {"model.safetensors", hash}, {"tokenizer.json", hash}}},
            {"method", {{"name", "lora"}, {"rank", 4}, {"alpha", "8"}, {"targets", "all-linear"}}},
            {"data", {{"format", "jsonl"}, {"blob", hash}}},
            {"validation", {{"format", "jsonl"}, {"blob", hash}}},
            {"context", 64},
            {"batch", 4},
            {"steps", 12},
            {"segment_steps", 4},
            {"learning_rate", "0.02"},
            {"seed", 3},
            {"flops_per_step", 10'000'000'000}};
        spec.merge_patch(change);
        TrainTask out;
        out.spec_json = spec.dump();
        out.job_dir = job;
        out.folder = path;
        out.examples = data;
        out.validation = data;
        return out;
    }
    TempDir dir;
    std::filesystem::path path = dir / "model";
    std::filesystem::path job = dir / "job";
    std::filesystem::path data = dir / "data.jsonl";
};

/// The text of an example with what is learned in brackets; special tokens as '^' and '|'.
std::string shown(const ExampleSet& set, std::size_t index = 0) {
    const auto example = set[index];
    std::string out;
    bool inside = false;
    for (std::size_t i = 0; i < example.tokens.size(); ++i) {
        if ((example.learned[i] == 1) != inside) out += inside ? ']' : '[';
        inside = example.learned[i] == 1;
        const std::uint32_t token = example.tokens[i];
        out += token == kBegin ? '^' : token == kTurn ? '|' : static_cast<char>(token);
    }
    return inside ? out + ']' : out;
}

ExampleSet added(const Setup& setup, const std::string& line, std::uint32_t context = 200) {
    ExampleSet set(context);
    const auto result = add_example(line, setup.words(), set);
    REQUIRE_MESSAGE(result.has_value(), result.error().message());
    return set;
}

ledger::base::Error refusal(const Setup& setup, const std::string& line) {
    ExampleSet set(200);
    const auto result = add_example(line, setup.words(), set);
    REQUIRE_FALSE(result.has_value());
    return result.error();
}

std::string lines(std::size_t count) {
    std::string out;
    for (std::size_t i = 0; i < count; ++i)
        out += json{{"messages",
                     {{{"role", "user"}, {"content", "say " + std::to_string(i % 3)}},
                      {{"role", "assistant"}, {"content", "aye aye"}}}}}
                   .dump() +
               "\n";
    return out;
}

std::unique_ptr<Executor> executor(sandbox::Mode mode) {
    ProcessExecutorOptions options;
    options.program = MILLRACE_TEST_CHILD;
    options.sandbox = mode;
    return make_process_executor(options);
}

}  // namespace

TEST_CASE("finetune: lines that teach nothing clear are refused") {
    const Setup setup;
    for (const char* line :
         {"", "{", "[]", "7", "{}", R"({"prompt":"a"})", R"({"completion":"a"})",
          R"({"prompt":1,"completion":"a"})", R"({"text":["a"]})", R"({"messages":[]})",
          R"({"messages":"a"})", R"({"messages":["a"]})", R"({"messages":[{"content":"a"}]})",
          R"({"messages":[{"role":"user","content":"a"}]})",
          R"({"messages":[{"role":"assistant","content":[{"type":"image_url"}]}]})"}) {
        CAPTURE(line);
        CHECK(refusal(setup, line).code() == ErrorCode::data_invalid);
    }
    const Setup bare(nullptr);
    CHECK(refusal(bare, R"({"messages":[{"role":"assistant","content":"a"}]})").code() ==
          ErrorCode::unsupported);
    const Setup strict("{{ raise_exception('never') }}");
    CHECK(refusal(strict, R"({"messages":[{"role":"assistant","content":"a"}]})")
              .detail()
              .find("never") != std::string::npos);
}

TEST_CASE("finetune: files name the line that is wrong, and long lines are not loaded") {
    const Setup setup;
    const auto read = [&](const std::string& text) {
        Setup::write(setup.data, text);
        return read_examples(setup.data, setup.words(), 64);
    };
    CHECK(read("").error().code() == ErrorCode::data_invalid);
    CHECK(read("\n \n\r\n").error().code() == ErrorCode::data_invalid);
    CHECK(read(lines(2) + "\n{\"text\":\n").error().detail().starts_with("line 4: "));
    CHECK(read("{\"text\":\"" + std::string(kExampleBytesMax, 'a') + "\"}")
              .error()
              .detail()
              .starts_with("line 1 is longer"));
    const std::string padded = "{\"text\":\"ab\"}";
    const auto full =
        read(padded + std::string(kExampleBytesMax - padded.size(), ' ') + "\n" + padded);
    REQUIRE_MESSAGE(full.has_value(), full.error().message());
    CHECK(full->size() == 2);
    // Nothing that is said fits: there is nothing to learn.
    const auto cut = read(R"({"prompt":")" + std::string(80, 'p') + R"(","completion":"c"})");
    REQUIRE_FALSE(cut.has_value());
    CHECK(cut.error().code() == ErrorCode::data_invalid);
    CHECK(read_examples(setup.dir / "none", setup.words(), 64).error().code() ==
          ErrorCode::data_missing);
}

TEST_CASE("finetune: what counts is what the model shall say") {
    const Setup setup;
    CHECK(shown(added(setup, R"({"text":"ab"})")) == "[^ab^]");
    CHECK(shown(added(setup, R"({"prompt":"a <s>","completion":"b"})")) == "^a <s>[b^]");
    CHECK(shown(added(setup, R"({"messages":[{"role":"user","content":"q"},)"
                             R"({"role":"assistant","content":"a"}]})")) ==
          "^|user:q|assistant:[a^]");
    CHECK(shown(added(setup, R"({"messages":[{"role":"system","content":"s"},)"
                             R"({"role":"user","content":[{"type":"text","text":"q"}]},)"
                             R"({"role":"assistant","content":"a","weight":0},)"
                             R"({"role":"user","content":"r"},)"
                             R"({"role":"assistant","content":"b","weight":1}],"tools":null})")) ==
          "^|system:s|user:q|assistant:a^|user:r|assistant:[b^]");
    CHECK(shown(added(setup, R"({"text":"abcdef"})", 4)) == "[^abc]");
    const Setup forgetful(kForgetful);
    CHECK(shown(added(forgetful, R"({"messages":[{"role":"user","content":"q"},)"
                                 R"({"role":"assistant","content":"t/a"},)"
                                 R"({"role":"user","content":"r"},)"
                                 R"({"role":"assistant","content":"u/b"}]})")) ==
          "|q|a:a|r|a:[u/b]");
}

TEST_CASE("finetune: the tokens of a prompt are those that the model is asked with") {
    const Setup setup;
    const FolderWords words = setup.words();
    const ExampleSet set = added(setup, R"({"messages":[{"role":"user","content":"q é 鯨"},)"
                                        R"({"role":"assistant","content":"a"}]})");
    GenerateRequest request;
    request.messages = R"([{"role":"user","content":"q é 鯨"}])";
    const auto asked = words.encode(request);
    REQUIRE(asked.has_value());
    const auto example = set[0];
    REQUIRE(example.tokens.size() > asked->size());
    CHECK(std::equal(asked->begin(), asked->end(), example.tokens.begin()));
    CHECK(example.learned[asked->size() - 1] == 0);
    CHECK(example.learned[asked->size()] == 1);
}

TEST_CASE("finetune: a job trains in its child, resumes with the same bits, and says what it cut") {
    Setup setup;
    Setup::write(setup.data, lines(8) + R"({"text":")" + std::string(100, 'x') + "\"}\n");
    std::vector<sandbox::Mode> modes{sandbox::Mode::kNone};
    if (sandbox::probe()) modes.push_back(sandbox::Mode::kBwrap);
    std::string first;
    for (const sandbox::Mode mode : modes) {
        Recorder recorder;
        const auto job = executor(mode)->start_train(setup.task(), recorder.sink());
        REQUIRE_MESSAGE(job.has_value(), job.error().message());
        recorder.wait_end();
        REQUIRE_MESSAGE(!recorder.failure(), recorder.failure()->message());
        const auto prepared = recorder.all<Prepared>();
        REQUIRE(prepared.size() == 1);
        CHECK(prepared[0].examples == 9);
        CHECK(prepared[0].cut == 1);
        const auto evaluations = recorder.all<Evaluated>();
        REQUIRE(evaluations.size() >= 2);
        CHECK(evaluations.back().loss < 0.8 * evaluations.front().loss);
        const auto segments = recorder.all<Segment>();
        REQUIRE(segments.size() == 3);
        const std::string bytes = read_file(segments.back().checkpoint);
        if (first.empty()) first = bytes;
        CHECK(bytes == first);
        TrainTask rest = setup.task();
        std::filesystem::rename(segments[0].checkpoint, setup.dir / "checkpoint");
        rest.files.checkpoint = setup.dir / "checkpoint";
        Recorder again;
        const auto resumed = executor(mode)->start_train(rest, again.sink());
        REQUIRE(resumed.has_value());
        again.wait_end();
        REQUIRE_MESSAGE(!again.failure(), again.failure()->message());
        REQUIRE(again.all<Segment>().size() == 2);
        const auto result = again.all<Segment>().back().checkpoint;
        CHECK(read_file(result) == first);
        // After a crash behind its last receipt a job is handed its result.
        std::filesystem::rename(result, setup.dir / "result");
        rest.files.checkpoint = setup.dir / "result";
        Recorder done;
        const auto finished = executor(mode)->start_train(rest, done.sink());
        REQUIRE(finished.has_value());
        done.wait_end();
        REQUIRE_MESSAGE(!done.failure(), done.failure()->message());
        CHECK(done.all<Segment>().empty());
        CHECK(done.all<Finished>().size() == 1);
    }
}

TEST_CASE("finetune: a segment is audited with the job's own words") {
    Setup setup;
    Setup::write(setup.data, lines(8));
    Recorder recorder;
    const auto job = executor(sandbox::Mode::kNone)->start_train(setup.task(), recorder.sink());
    REQUIRE_MESSAGE(job.has_value(), job.error().message());
    recorder.wait_end();
    const auto segments = recorder.all<Segment>();
    REQUIRE(segments.size() == 3);
    const auto verdict = [&](std::size_t index) {
        AuditTask task;
        static_cast<TrainTask&>(task) = setup.task();
        if (index > 0) task.files.checkpoint = segments[index - 1].checkpoint;
        task.stop_at_step = segments[index].step;
        task.claimed = segments[index].checkpoint;
        task.claimed_hash = segments[index].sha256;
        Recorder audit;
        const auto running = executor(sandbox::Mode::kNone)->start_audit(task, audit.sink());
        REQUIRE_MESSAGE(running.has_value(), running.error().message());
        audit.wait_end();
        REQUIRE_MESSAGE(!audit.failure(), audit.failure()->message());
        return audit.all<Audited>().at(0).report.verdict;
    };
    for (std::size_t index = 0; index < 3; ++index)
        CHECK(verdict(index) == worker::verify::Verdict::kEqual);
    Setup::write(setup.data, lines(7));  // not what the worker learned
    CHECK(verdict(0) == worker::verify::Verdict::kWrong);
}

TEST_CASE("finetune: what is wrong inside the child is a typed error") {
    Setup setup;
    const auto failure = [&](const TrainTask& task) {
        Recorder recorder;
        const auto job = executor(sandbox::Mode::kNone)->start_train(task, recorder.sink());
        if (!job) return job.error().code();
        recorder.wait_end();
        REQUIRE(recorder.failure().has_value());
        return recorder.failure()->code();
    };
    CHECK(failure(setup.task()) == ErrorCode::data_missing);  // no examples
    Setup::write(setup.data, "not json\n");
    CHECK(failure(setup.task()) == ErrorCode::data_invalid);
    Setup::write(setup.data, lines(2));
    CHECK(failure(setup.task({{"flops_per_step", 1000}})) == ErrorCode::job_spec_invalid);
    CHECK(failure(setup.task({{"context", 129}})) == ErrorCode::job_limit);
    Setup::write(setup.path / "tokenizer.json", "{}");
    CHECK(failure(setup.task()) == ErrorCode::data_invalid);
}

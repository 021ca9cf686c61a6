// SPDX-License-Identifier: Apache-2.0
// Fine-tuning of published folders: what is refused, what is counted, and what a run leaves.
#include "worker/model/finetune.hpp"

#include "tests/unit/worker/model/decoder_cases.hpp"
#include "tests/unit/worker/model/decoder_fixture.hpp"
#include "worker/model/lora.hpp"
#include "worker/model/model_spec.hpp"
#include "worker/model/training.hpp"

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>

using namespace worker::model;
using namespace worker::model::test;
using ledger::base::ErrorCode;

namespace {

constexpr std::uint64_t kSeed = 20261127;

json spec_json() {
    const std::string hash = "0x" + std::string(64, 'a');
    return {
        {"version", 1},
        {"kind", "finetune"},
        {"files", {{"config.json", hash}, {"model.safetensors", hash}, {"tokenizer.json", hash}}},
        {"method", {{"name", "lora"}, {"rank", 4}, {"alpha", "8"}, {"targets", "all-linear"}}},
        {"data", {{"format", "jsonl"}, {"blob", hash}}},
        {"context", 24},
        {"batch", 4},
        {"steps", 12},
        {"segment_steps", 4},
        {"learning_rate", "0.01"},
        {"seed", 3},
        {"flops_per_step", 1'000'000'000}};
}

FinetuneSpec spec_of(const json& document) {
    auto spec = parse_job_spec(document.dump());
    REQUIRE_MESSAGE(spec.has_value(), spec.error().message());
    REQUIRE(std::holds_alternative<FinetuneSpec>(*spec));
    return std::get<FinetuneSpec>(std::move(*spec));
}

DecoderConfig config_of(const json& config) {
    return *parse_hf_config(config.dump());
}

/// Texts that repeat after themselves: their second half can be learned.
ExampleSet echoes(std::size_t count, std::uint32_t context, std::uint32_t start = 0) {
    ExampleSet out(context);
    for (std::uint32_t i = 0; i < count; ++i) {
        Tokens tokens = some_tokens(5 + i % 5, 97, start + 7 * i);
        std::vector<std::uint8_t> learned(tokens.size(), 0);
        const Tokens again = tokens;
        tokens.insert(tokens.end(), again.begin(), again.end());
        learned.resize(tokens.size(), 1);
        out.add(tokens, learned);
    }
    return out;
}

struct Folder {
    explicit Folder(const json& config, Dtype dtype = Dtype::kF32, std::size_t shards = 1)
        : model(make_random_model(config.dump(), kSeed, dtype, 0.7)) {
        write_model(model, dir.path(), dtype, shards);
    }
    ledger::base::Result<TrainingRun> start(const FinetuneSpec& spec,
                                            const StartFiles& files = {}) const {
        TRY_ASSIGN(auto objective,
                   make_finetune_objective(spec, dir.path(), echoes(18, spec.context),
                                           echoes(5, spec.context), "cpu"));
        return TrainingRun::start(spec, std::move(objective), files, {});
    }
    RandomModel model;
    TempDir dir;
};

/// Loads a result as if it were the folder's weights.
Floats served_logits(const Folder& folder, const std::filesystem::path& weights,
                     const Tokens& tokens) {
    const TempDir dir;
    std::filesystem::copy_file(folder.dir / "config.json", dir / "config.json");
    std::filesystem::copy_file(weights, dir / "model.safetensors");
    worker::kernels::Pool pool(1);
    auto model = load_folder(dir.path(), worker::kernels::WeightFormat::kF32, pool);
    REQUIRE_MESSAGE(model.has_value(), model.error().message());
    KvCache cache((*model)->config, KvCache::Options{64});
    Decoder decoder(*model, cache, pool);
    auto sequence = cache.begin(tokens, tokens.size());
    REQUIRE(sequence.has_value());
    std::vector<DecoderRow> rows;
    for (std::uint32_t i = 0; i < tokens.size(); ++i)
        rows.push_back({tokens[i], i, &*sequence, true});
    const auto logits = decoder.logits(rows);
    return {logits.begin(), logits.end()};
}

/// Mean loss of the learned tokens, by the decoder that serves.
double served_loss(const Folder& folder, const std::filesystem::path& weights) {
    const ExampleSet examples = echoes(5, 24);
    double sum = 0;
    std::uint64_t count = 0;
    for (std::size_t i = 0; i < examples.size(); ++i) {
        const auto example = examples[i];
        const Floats logits =
            served_logits(folder, weights, Tokens(example.tokens.begin(), example.tokens.end()));
        for (std::size_t t = 0; t + 1 < example.tokens.size(); ++t) {
            if (example.learned[t + 1] == 0) continue;
            double total = 0;
            for (std::size_t v = 0; v < 97; ++v)
                total += std::exp(static_cast<double>(logits[t * 97 + v]));
            sum += std::log(total) - static_cast<double>(logits[t * 97 + example.tokens[t + 1]]);
            ++count;
        }
    }
    return sum / static_cast<double>(count);
}

std::string bytes_after(TrainingRun& run, std::uint64_t steps, const std::filesystem::path& path) {
    REQUIRE(run.advance(steps).has_value());
    const auto saved = run.save_checkpoint(path);
    REQUIRE_MESSAGE(saved.has_value(), saved.error().message());
    return read_file(path);
}

}  // namespace

TEST_CASE("finetune: a spec is refused field by field") {
    const std::vector<std::pair<json, std::string>> bad = {
        {{{"files", nullptr}}, "files"},
        {{{"files", {{"tokenizer.json", nullptr}}}}, "files"},
        {{{"method", nullptr}}, "method"},
        {{{"method", {{"name", "prefix"}}}}, "name"},
        {{{"method", {{"name", "full"}}}}, "alpha"},  // what LoRA has is left
        {{{"method", {{"rank", 0}}}}, "rank"},
        {{{"method", {{"rank", 1025}}}}, "rank"},
        {{{"method", {{"alpha", "0"}}}}, "alpha"},
        {{{"method", {{"targets", json::array()}}}}, "targets"},
        {{{"method", {{"targets", {"q", "q"}}}}}, "targets"},
        {{{"method", {{"targets", {"head"}}}}}, "targets"},
        {{{"method", {{"targets", "some"}}}}, "targets"},
        {{{"data", nullptr}}, "data"},
        {{{"data", {{"format", "csv"}}}}, "format"},
        {{{"data", {{"blob", "0x12"}}}}, "blob"},
        {{{"validation", {{"format", "jsonl"}}}}, "blob"},
        {{{"context", 7}}, "context"},
        {{{"context", nullptr}}, "context"},
        {{{"rows", "loose"}}, "rows"},
        {{{"result", "both"}}, "result"},
        {{{"steps", 0}}, "steps"},
        {{{"numeric_class", "D0"}}, "numeric_class"},
        {{{"flops_per_step", nullptr}}, "flops_per_step"},
        {{{"model", "x"}}, "model"}};
    for (const auto& [change, field] : bad) {
        CAPTURE(change.dump());
        const auto spec = parse_job_spec(with(spec_json(), change).dump());
        REQUIRE_FALSE(spec.has_value());
        CHECK(spec.error().code() == ErrorCode::job_spec_invalid);
        CHECK(spec.error().detail().find(field) != std::string::npos);
    }
    json full = spec_json();
    full["method"] = {{"name", "full"}};
    full["result"] = "adapter";
    CHECK_FALSE(parse_job_spec(full.dump()).has_value());
    const auto large =
        parse_job_spec(with(spec_json(), {{"context", 65536}, {"batch", 32}}).dump());
    REQUIRE_FALSE(large.has_value());
    CHECK(large.error().code() == ErrorCode::job_limit);
}

TEST_CASE("finetune: what only the config tells is refused") {
    const auto check = [](const json& change, const json& config) {
        return check_finetune(spec_of(with(spec_json(), change)), config_of(config));
    };
    CHECK(check({{"context", 65}}, llama()).error().code() == ErrorCode::job_limit);
    CHECK(check({{"flops_per_step", 1000}}, llama()).error().code() == ErrorCode::job_spec_invalid);
    const auto targets = [](const json& list) { return json{{"method", {{"targets", list}}}}; };
    CHECK(check(targets({"q", "v"}), gpt2()).error().code() == ErrorCode::unsupported);
    CHECK(check(targets({"gate"}), neox()).error().code() == ErrorCode::unsupported);
    CHECK(check(targets({"q", "v"}), llama()).has_value());
    CHECK(check(targets({"q", "k", "v", "o"}), neox()).has_value());
}

TEST_CASE("finetune: FLOPs are those of the products") {
    const DecoderConfig config = config_of(llama());
    FinetuneSpec spec = spec_of(spec_json());
    // q, o: 48·48; k, v: 48·24; gate, up, down: 48·80; the head 48·97.
    const std::uint64_t linear = 2 * (2 * 48 * 48 + 2 * 48 * 24 + 3 * 48 * 80) + 48 * 97;
    const std::uint64_t attention = 2 * 2 * 24 * 48;
    const std::uint64_t adapters = 2 * 4 * ((48 + 48) * 2 + (48 + 24) * 2 + (48 + 80) * 3);
    const std::uint64_t tokens = 4 * 24;
    CHECK(flops_per_step(spec, config) ==
          tokens * (4 * linear + 6 * attention + 6 * adapters) + 16 * adapters);
    spec.lora.reset();
    CHECK(flops_per_step(spec, config) ==
          tokens * 6 * (linear + attention) + 16 * parameter_count(config));
    CHECK(memory_estimate(spec, config) > 30 * parameter_count(config));
}

TEST_CASE("finetune: adapters have the names and shapes that PEFT gives them") {
    const auto names = [](const json& config, const json& targets, std::string_view prefix) {
        const DecoderLayout layout(config_of(config), prefix);
        const FinetuneSpec spec = spec_of(with(spec_json(), {{"method", {{"targets", targets}}}}));
        const auto adapters = lora_layout(layout, *spec.lora);
        REQUIRE(adapters.has_value());
        std::map<std::string, std::vector<std::int64_t>> out;
        for (const ParameterSlot& slot : adapters->slots)
            out[slot.name] = slot.shape;
        return std::pair(out, json::parse(adapter_config(layout, *adapters, *spec.lora)));
    };
    const auto [llama_names, llama_config] = names(llama(), {"q", "v"}, "");
    CHECK(llama_names.size() == 8);
    CHECK(llama_names.at("base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight") ==
          std::vector<std::int64_t>{4, 48});
    CHECK(llama_names.at("base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight") ==
          std::vector<std::int64_t>{24, 4});
    CHECK(llama_config.at("target_modules") == json{"self_attn.q_proj", "self_attn.v_proj"});
    CHECK(llama_config.at("r") == 4);
    CHECK(llama_config.at("lora_alpha") == 8);
    CHECK_FALSE(llama_config.at("fan_in_fan_out"));
    for (const std::string_view prefix : {"", "transformer."}) {
        const auto [gpt2_names, gpt2_config] = names(gpt2(), "all-linear", prefix);
        CHECK(gpt2_names.size() == 16);
        CHECK(gpt2_names.at("base_model.model.transformer.h.1.mlp.c_proj.lora_A.weight") ==
              std::vector<std::int64_t>{4, 192});
        CHECK(gpt2_config.at("target_modules") ==
              json{"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"});
        CHECK(gpt2_config.at("fan_in_fan_out"));
    }
    const auto [neox_names, neox_config] = names(neox(), {"q", "k", "v"}, "");
    CHECK(neox_names.count(
              "base_model.model.gpt_neox.layers.0.attention.query_key_value.lora_B.weight") == 1);
    CHECK(neox_config.at("target_modules") == json{"attention.query_key_value"});
}

TEST_CASE("finetune: examples are cut, dropped and counted") {
    ExampleSet set(6);
    const auto add = [&](std::size_t size, std::size_t from) {
        Tokens tokens = some_tokens(size, 97);
        std::vector<std::uint8_t> learned(size, 0);
        std::fill(learned.begin() + static_cast<std::ptrdiff_t>(std::min(from, size)),
                  learned.end(), std::uint8_t{1});
        set.add(tokens, learned);
    };
    add(0, 0);  // nothing
    add(1, 0);  // nothing comes before it
    add(4, 4);  // nothing to learn
    add(9, 7);  // what is to learn is cut off
    add(9, 4);  // cut to 6
    add(3, 0);
    const ExampleSet::Report& report = set.report();
    CHECK(report.kept == 2);
    CHECK(report.cut == 2);
    CHECK(report.dropped == 4);
    CHECK(report.tokens == 9);
    CHECK(report.learned == 2 + 2);
    CHECK(set.size() == 2);
    CHECK(set[1].tokens.size() == 3);
}

TEST_CASE("finetune: rows hold every example once an epoch") {
    const ExampleSet set = echoes(23, 40);
    for (const RowKind kind : {RowKind::kPadded, RowKind::kPacked}) {
        RowPlan plan(set, kind, 40, 5);
        CHECK((kind == RowKind::kPadded ? plan.rows() == 23 : plan.rows() < 16));
        std::vector<std::uint64_t> first;
        for (int epoch = 0; epoch < 3; ++epoch) {
            std::set<std::uint64_t> seen;
            std::vector<std::uint64_t> order;
            for (std::uint64_t i = 0; i < plan.rows(); ++i) {
                const std::uint64_t place = static_cast<std::uint64_t>(epoch) * plan.rows() + i;
                order.push_back(plan.shuffled(place));
                seen.insert(order.back());
            }
            CHECK(seen.size() == plan.rows());
            if (epoch == 0) first = order;
            if (epoch == 1) CHECK(order != first);
        }
        std::vector<std::uint64_t> all(plan.rows());
        std::uint64_t learned = 0;
        for (std::uint64_t i = 0; i < plan.rows(); ++i) {
            all[i] = i;
            learned += plan.learned(i);
        }
        const RowBatch batch = plan.batch(all);
        CHECK(learned == set.report().learned);
        REQUIRE(batch.targets.size() == learned);
        CHECK(batch.length <= 40);
        std::size_t next = 0;
        for (std::size_t e = 0; e < set.size(); ++e)
            for (std::size_t i = 1; i < set[e].tokens.size(); ++i) {
                if (set[e].learned[i] == 0) continue;
                const auto place = static_cast<std::size_t>(batch.picked[next]);
                REQUIRE(batch.targets[next++] == set[e].tokens[i]);
                REQUIRE(batch.tokens[place] == set[e].tokens[i - 1]);
                REQUIRE(batch.positions[place] == static_cast<std::int64_t>(i - 1));
            }
    }
}

TEST_CASE("finetune: bad folders and data are refused with their reason") {
    const FinetuneSpec spec = spec_of(spec_json());
    const Folder folder(llama());
    const auto code = [&](const FinetuneSpec& with_spec, const std::filesystem::path& path,
                          ExampleSet set) {
        const auto made =
            make_finetune_objective(with_spec, path, std::move(set), std::nullopt, "cpu");
        REQUIRE_FALSE(made.has_value());
        return made.error().code();
    };
    CHECK(code(spec, folder.dir / "none", echoes(3, 24)) == ErrorCode::data_missing);
    CHECK(code(spec, folder.dir.path(), ExampleSet(24)) == ErrorCode::data_invalid);
    ExampleSet foreign(24);
    foreign.add(Tokens{5, 97}, std::vector<std::uint8_t>{1, 1});
    CHECK(code(spec, folder.dir.path(), std::move(foreign)) == ErrorCode::data_invalid);
    Folder broken(llama());
    std::ofstream(broken.dir / "config.json") << with(llama(), {{"intermediate_size", 81}}).dump();
    CHECK(code(spec, broken.dir.path(), echoes(3, 24)) == ErrorCode::data_invalid);
}

TEST_CASE("finetune: a run learns, resumes bit for bit, and its result is served") {
    MESSAGE("seed " << kSeed);
    json full = spec_json();
    full["method"] = {{"name", "full"}};
    full["learning_rate"] = "0.003";
    const json packed = with(spec_json(), {{"rows", "packed"}, {"precision", "bf16"}});
    const std::vector<std::tuple<std::string, json, json, Dtype>> runs = {
        {"lora llama", spec_json(), with(llama(), {{"tie_word_embeddings", true}}), Dtype::kF32},
        {"lora qwen3 in bf16, packed", packed, qwen3(), Dtype::kBf16},
        {"lora gpt2 q, k, v", with(spec_json(), {{"method", {{"targets", {"q", "k", "v"}}}}}),
         gpt2(), Dtype::kF32},
        {"lora pythia", spec_json(), neox(), Dtype::kF16},
        {"full llama", full, llama(), Dtype::kF32},
        {"full gpt2 in bf16", with(full, {{"precision", "bf16"}}), gpt2(), Dtype::kBf16}};
    for (const auto& [name, document, config, dtype] : runs) {
        CAPTURE(name);
        const FinetuneSpec spec = spec_of(document);
        const Folder folder(config, dtype);
        const TempDir out;
        auto whole = folder.start(spec);
        REQUIRE_MESSAGE(whole.has_value(), whole.error().message());
        const auto before = whole->evaluate();
        REQUIRE(before.has_value());
        CHECK(before->samples == echoes(5, 24).report().learned);
        const double base = served_loss(folder, folder.dir / "model.safetensors");
        CHECK(before->loss ==
              doctest::Approx(base).epsilon(spec.precision == Precision::kBf16 ? 2e-2 : 1e-4));
        REQUIRE(whole->advance(4).has_value());
        REQUIRE(whole->save_checkpoint(out / "four").has_value());
        const std::string result = bytes_after(*whole, 8, out / "whole");
        const auto after = whole->evaluate();
        REQUIRE(after.has_value());
        MESSAGE(name << ": " << before->loss << " to " << after->loss);
        CHECK(after->loss < 0.95 * before->loss);
        auto resumed = folder.start(spec, {std::nullopt, out / "four"});
        REQUIRE_MESSAGE(resumed.has_value(), resumed.error().message());
        CHECK(resumed->step() == 4);
        CHECK(bytes_after(*resumed, 8, out / "resumed") == result);
        // Handed its own result, a job has nothing left to do.
        auto over = folder.start(spec, {std::nullopt, out / "whole"});
        REQUIRE_MESSAGE(over.has_value(), over.error().message());
        CHECK(over->step() == 12);
        CHECK(over->stopped_early());
        CHECK_FALSE(over->advance(1).has_value());
        // What is served afterwards has the loss that the run has seen.
        const bool rounded = spec.precision == Precision::kBf16 || dtype != Dtype::kF32;
        CHECK(served_loss(folder, out / "whole") ==
              doctest::Approx(after->loss).epsilon(rounded ? 3e-2 : 1e-4));
    }
}

TEST_CASE("finetune: pieces of a batch give the loss of the whole, other seeds another") {
    const Folder folder(mistral());
    const auto loss = [&](const json& change) {
        auto run = folder.start(spec_of(with(spec_json(), change)));
        REQUIRE(run.has_value());
        const auto report = run->advance(2);
        REQUIRE(report.has_value());
        return report->loss;
    };
    for (const char* rows : {"padded", "packed"}) {
        const double whole = loss({{"rows", rows}});
        CHECK(loss({{"rows", rows}}) == whole);
        CHECK(loss({{"rows", rows}, {"accumulate", 4}}) == doctest::Approx(whole).epsilon(1e-5));
        CHECK(loss({{"rows", rows}, {"seed", 4}}) != whole);
    }
}

TEST_CASE("finetune: a job that stops early leaves its result there") {
    json document = with(spec_json(), {{"early_stop", {{"patience", 1}, {"min_delta", "100"}}}});
    document["validation"] = document["data"];
    const Folder folder(llama());
    auto run = folder.start(spec_of(document));
    REQUIRE(run.has_value());
    const TempDir out;
    REQUIRE(run->advance(4).has_value());
    REQUIRE(run->evaluate().has_value());  // the first is the best
    REQUIRE_FALSE(run->stopped_early());
    REQUIRE(run->advance(4).has_value());
    REQUIRE(run->evaluate().has_value());
    REQUIRE(run->stopped_early());
    REQUIRE(run->save_checkpoint(out / "early").has_value());
    CHECK(served_loss(folder, out / "early") > 0);
}

TEST_CASE("finetune: an adapter alone has its config with it, and the base stays") {
    const FinetuneSpec spec = spec_of(with(spec_json(), {{"result", "adapter"}}));
    const Folder folder(llama());
    const TempDir out;
    auto run = folder.start(spec);
    REQUIRE(run.has_value());
    REQUIRE(run->advance(12).has_value());
    REQUIRE(run->save_checkpoint(out / "adapter").has_value());
    const auto file = SafetensorsFile::open(out / "adapter");
    REQUIRE(file.has_value());
    CHECK(file->index().tensors.size() == 2 * 7 * 2);
    const json config = json::parse(file->index().metadata.at("adapter_config"));
    CHECK(config.at("peft_type") == "LORA");
    CHECK(config.at("target_modules").size() == 7);
    // Merging it by hand gives the other kind of result.
    const FinetuneSpec merged_spec = spec_of(spec_json());
    auto merged_run = folder.start(merged_spec);
    REQUIRE(merged_run.has_value());
    REQUIRE(merged_run->advance(12).has_value());
    REQUIRE(merged_run->save_checkpoint(out / "merged").has_value());
    const auto merged = SafetensorsFile::open(out / "merged");
    REQUIRE(merged.has_value());
    const auto values = [](const SafetensorsFile& of, const std::string& name) {
        const TensorView* tensor = of.index().find(name);
        REQUIRE_MESSAGE(tensor != nullptr, name);
        Floats floats(tensor->data.size() / 4);
        std::memcpy(floats.data(), tensor->data.data(), tensor->data.size());
        return floats;
    };
    const std::string module = "model.layers.1.mlp.down_proj";
    const Floats a = values(*file, "base_model.model." + module + ".lora_A.weight");
    const Floats b = values(*file, "base_model.model." + module + ".lora_B.weight");
    const Floats got = values(*merged, module + ".weight");
    const Floats& base = folder.model.tensors.at(module + ".weight").values;
    double moved = 0;
    for (std::size_t o = 0; o < 48; ++o)
        for (std::size_t i = 0; i < 80; ++i) {
            double sum = 0;
            for (std::size_t r = 0; r < 4; ++r)
                sum += 2.0 * static_cast<double>(b[o * 4 + r]) * static_cast<double>(a[r * 80 + i]);
            const double expected = static_cast<double>(base[o * 80 + i]) + sum;
            REQUIRE(static_cast<double>(got[o * 80 + i]) ==
                    doctest::Approx(expected).epsilon(1e-5));
            moved = std::max(moved, std::abs(sum));
        }
    CHECK(moved > 1e-3);
    CHECK(values(*merged, "model.embed_tokens.weight") ==
          folder.model.tensors.at("model.embed_tokens.weight").values);
}

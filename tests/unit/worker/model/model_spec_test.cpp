// SPDX-License-Identifier: Apache-2.0
#include "worker/model/model_spec.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

using namespace worker::model;
using ledger::base::ErrorCode;

namespace {

const std::string kHash = "0x" + std::string(64, 'a');

std::string gpt_spec() {
    return R"({"version":1,"kind":"train","model":{"arch":"gpt","vocab":256,"width":192,"depth":4,)"
           R"("heads":6,"context":128},"data":{"format":"text","blob":")" +
           kHash +
           R"("},"holdout_bp":500,"batch":16,"steps":300,"segment_steps":25,"eval_batches":8,)"
           R"("learning_rate":"0.001","warmup_steps":20,"weight_decay":"0.01","seed":7,)"
           R"("precision":"fp32","numeric_class":"D1","flops_per_step":123})";
}

std::string with(std::string spec, const std::string& from, const std::string& to) {
    const auto place = spec.find(from);
    REQUIRE(place != std::string::npos);
    return spec.replace(place, from.size(), to);
}

void refused(const std::string& spec, std::string_view why,
             ErrorCode code = ErrorCode::job_spec_invalid) {
    CAPTURE(spec);
    const auto parsed = parse_job_spec(spec);
    REQUIRE_FALSE(parsed.has_value());
    CHECK(parsed.error().code() == code);
    CHECK_MESSAGE(parsed.error().detail().find(why) != std::string::npos, parsed.error().detail());
}

/// Its keys stand in another order than the canonical one.
std::string folder_spec() {
    return R"({"version":1,"kind":"infer.serve","name":"tiny","files":{"config.json":")" + kHash +
           R"(","tokenizer.json":")" + kHash + R"(","model.safetensors":")" + kHash +
           R"("},"weights_format":"bf16"})";
}

}  // namespace

TEST_CASE("model_spec: what is not a job spec is refused") {
    refused("", "JSON");
    refused("[]", "object");
    refused("{}", "version");
    refused(R"({"version":1,"version":1})", "repeated");
    refused(R"({"version":2,"kind":"train"})", "version");
    refused(R"({"version":1,"kind":"mine"})", "kind");
    refused(std::string(70'000, ' '), "longer", ErrorCode::job_limit);
}

TEST_CASE("model_spec: every field out of its limits is named") {
    const std::string good = gpt_spec();
    refused(with(good, R"("arch":"gpt")", R"("arch":"rnn")"), "model.arch");
    refused(with(good, R"("vocab":256)", R"("vocab":50257)"), "model.vocab");
    refused(with(good, R"("width":192)", R"("width":190)"), "multiple of heads");
    refused(with(good, R"("width":192)", R"("width":1000000)"), "model.width");
    refused(with(good, R"("depth":4)", R"("depth":0)"), "model.depth");
    refused(with(good, R"("depth":4)", R"("depth":-1)"), "model.depth");
    refused(with(good, R"("context":128)", R"("context":1e3)"), "model.context");
    refused(with(good, R"("format":"text")", R"("format":"csv")"), "data.format");
    refused(with(good, kHash, "0xabc"), "data.blob");
    refused(with(good, R"("steps":300)", R"("steps":0)"), "steps");
    refused(with(good, R"("segment_steps":25)", R"("segment_steps":301)"), "segment_steps");
    refused(with(good, R"("warmup_steps":20)", R"("warmup_steps":301)"), "warmup_steps");
    refused(with(good, R"("batch":16)", R"("batch":"16")"), "batch");
    refused(with(good, R"("learning_rate":"0.001")", R"("learning_rate":0.001)"), "learning_rate");
    refused(with(good, R"("learning_rate":"0.001")", R"("learning_rate":"1e-3")"), "learning_rate");
    refused(with(good, R"("learning_rate":"0.001")", R"("learning_rate":"2")"), "learning_rate");
    refused(with(good, R"("precision":"fp32")", R"("precision":"fp8")"), "precision");
    refused(with(good, R"("numeric_class":"D1")", R"("numeric_class":"D0")"), "numeric_class");
    refused(with(good, R"("seed":7)", R"("seed":-7)"), "seed");
    refused(with(good, R"("seed":7)", R"("seed":7,"extra":1)"), "extra");
    refused(with(good, R"("steps":300)", R"("steps":99999999)"), "steps");
}

TEST_CASE("model_spec: options of the loop out of their limits are named") {
    const auto extra = [](const std::string& fields) {
        return with(gpt_spec(), R"("seed":7)", R"("seed":7,)" + fields);
    };
    refused(extra(R"("optimizer":"adamw")"), "optimizer must be an object");
    refused(extra(R"("optimizer":{})"), "optimizer.name");
    refused(extra(R"("optimizer":{"name":"lion"})"), "optimizer.name");
    refused(extra(R"("optimizer":{"name":"adamw","momentum":"0.9"})"), "optimizer.momentum");
    refused(extra(R"("optimizer":{"name":"adamw","beta1":"1"})"), "optimizer.beta1");
    refused(extra(R"("optimizer":{"name":"adamw","beta2":0.9})"), "optimizer.beta2");
    refused(extra(R"("optimizer":{"name":"adamw","epsilon":"0"})"), "optimizer.epsilon");
    refused(extra(R"("optimizer":{"name":"sgd","beta1":"0.9"})"), "optimizer.beta1");
    refused(extra(R"("optimizer":{"name":"sgd","momentum":"1.5"})"), "optimizer.momentum");
    refused(extra(R"("optimizer":{"name":"sgd","momentum":"0.9","nesterov":1})"),
            "optimizer.nesterov");
    refused(extra(R"("optimizer":{"name":"sgd","nesterov":true})"), "needs a momentum");
    refused(extra(R"("schedule":"step")"), "schedule");
    refused(extra(R"("min_rate_share":"1.5")"), "min_rate_share");
    refused(extra(R"("schedule":"constant","min_rate_share":"0.1")"), "min_rate_share");
    refused(extra(R"("clip_norm":"-1")"), "clip_norm");
    refused(extra(R"("ranks":0)"), "ranks");
    refused(extra(R"("ranks":17)"), "ranks");
    refused(extra(R"("ranks":3)"), "ranks must divide");
    refused(extra(R"("accumulate":0)"), "accumulate");
    refused(extra(R"("accumulate":5)"), "accumulate must divide");
    refused(extra(R"("ranks":4,"accumulate":8)"), "accumulate must divide");
    refused(extra(R"("early_stop":3)"), "early_stop");
    refused(extra(R"("early_stop":{})"), "early_stop.patience");
    refused(extra(R"("early_stop":{"patience":0})"), "early_stop.patience");
    refused(extra(R"("early_stop":{"patience":2,"min_delta":"x"})"), "early_stop.min_delta");
    refused(extra(R"("early_stop":{"patience":2,"why":1})"), "early_stop.why");
    refused(
        with(extra(R"("early_stop":{"patience":2})"), R"("eval_batches":8)", R"("eval_batches":0)"),
        "eval_batches");
    refused(extra(R"("sealed":true)"), "sealed");
    refused(extra(R"("sealed":"0x12")"), "sealed");
    refused(extra(fmt::format(R"("sealed":"0x{:064}")", 0)), "sealed");
    refused(extra(fmt::format(R"("sealed":"0x{:066}")", 1)), "sealed");
}

TEST_CASE("model_spec: a sealed job names its salt") {
    const auto sealed = parse_job_spec(
        with(gpt_spec(), R"("seed":)", fmt::format(R"("sealed":"0x{:064}","seed":)", 1)));
    REQUIRE(sealed.has_value());
    const auto& salt = std::get<TrainSpec>(*sealed).sealed;
    REQUIRE(salt.has_value());
    CHECK(salt->data()[31] == 1);
    CHECK_FALSE(std::get<TrainSpec>(*parse_job_spec(gpt_spec())).sealed.has_value());
}

TEST_CASE("model_spec: options of the loop give their values, and a plain spec its old ones") {
    const auto plain = parse_job_spec(gpt_spec());
    REQUIRE(plain.has_value());
    const auto& old = std::get<TrainSpec>(*plain);
    CHECK(old.optimizer.kind == OptimizerKind::kAdamW);
    CHECK(old.optimizer.beta1 == 0.9F);
    CHECK(old.optimizer.beta2 == 0.95F);
    CHECK(old.optimizer.epsilon == 1e-8F);
    CHECK(old.schedule == Schedule::kCosine);
    CHECK(old.min_rate_share == 0.1);
    CHECK(old.clip_norm == 1.0);
    CHECK(micro_batch(old) == 16);
    CHECK_FALSE(old.early_stop.has_value());
    const auto parsed = parse_job_spec(
        with(gpt_spec(), R"("seed":7)",
             R"("seed":7,"optimizer":{"name":"sgd","momentum":"0.9","nesterov":true},)"
             R"("schedule":"linear","min_rate_share":"0","clip_norm":"0","ranks":2,"accumulate":4,)"
             R"("early_stop":{"patience":3,"min_delta":"0.01"})"));
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message());
    const auto& spec = std::get<TrainSpec>(*parsed);
    CHECK(spec.optimizer.kind == OptimizerKind::kSgd);
    CHECK(spec.optimizer.momentum == 0.9F);
    CHECK(spec.optimizer.nesterov);
    CHECK(spec.schedule == Schedule::kLinear);
    CHECK(spec.min_rate_share == 0.0);
    CHECK(spec.clip_norm == 0.0);
    CHECK(micro_batch(spec) == 2);
    REQUIRE(spec.early_stop.has_value());
    CHECK(spec.early_stop->patience == 3);
    CHECK(spec.early_stop->min_delta == doctest::Approx(0.01));
    // The same work in smaller pieces; every rank holds a copy of the model.
    CHECK(flops_per_step(spec) == flops_per_step(old));
    CHECK(memory_estimate(*parsed) > memory_estimate(*plain));
    const auto pieces =
        parse_job_spec(with(gpt_spec(), R"("seed":7)", R"("seed":7,"accumulate":16)"));
    CHECK(memory_estimate(*pieces) < memory_estimate(*plain));
}

TEST_CASE("model_spec: a model or a step that is too large meets a limit") {
    refused(with(gpt_spec(), R"("width":192,"depth":4,"heads":6)",
                 R"("width":8192,"depth":96,"heads":64)"),
            "parameters", ErrorCode::job_limit);
    refused(with(gpt_spec(), R"("batch":16)", R"("batch":65536)"), "samples", ErrorCode::job_limit);
}

TEST_CASE("model_spec: data must fit the model") {
    refused(with(gpt_spec(),
                 R"({"arch":"gpt","vocab":256,"width":192,"depth":4,"heads":6,"context":128})",
                 R"({"arch":"cnn","classes":10,"channels":16,"height":28,"width":28})"),
            "data.format");
}

namespace {

std::string image_spec(const std::string& model) {
    return with(with(gpt_spec(),
                     R"({"arch":"gpt","vocab":256,"width":192,"depth":4,"heads":6,"context":128})",
                     "{\"classes\":10,\"colors\":3,\"height\":32,\"width\":32," + model + "}"),
                R"("format":"text")", R"("format":"tar")");
}

const std::string kResnet = R"("arch":"resnet","channels":16,"stages":3,"blocks":2)";
const std::string kVit = R"("arch":"vit","patch":4,"dim":64,"depth":4,"heads":4)";
const std::string kMlp = R"("arch":"mlp","hidden":128,"depth":2)";

TrainSpec parsed_train(const std::string& spec) {
    auto parsed = parse_job_spec(spec);
    REQUIRE_MESSAGE(parsed.has_value(), parsed.error().message());
    CHECK(memory_estimate(*parsed) > (512ULL << 20U));
    return std::get<TrainSpec>(*parsed);
}

}  // namespace

TEST_CASE("model_spec: models of images out of their limits are refused") {
    refused(image_spec(with(kResnet, "16", "12")), "multiple of 8");
    refused(image_spec(with(kResnet, "\"stages\":3", "\"stages\":6")), "model.stages");
    refused(image_spec(kResnet + R"(,"patch":4)"), "model.patch");
    refused(image_spec(with(kVit, "\"patch\":4", "\"patch\":5")), "must divide");
    refused(image_spec(with(kVit, "\"heads\":4", "\"heads\":5")), "multiple of heads");
    refused(image_spec(with(kMlp, "128", "0")), "model.hidden");
    refused(with(image_spec(kMlp), "\"colors\":3", "\"colors\":2"), "model.colors");
    refused(with(image_spec(kMlp), "\"height\":32", "\"height\":0"), "model.height");
    refused(with(image_spec(kMlp), "\"format\":\"tar\"", "\"format\":\"jsonl\",\"field\":\"t\""),
            "data.field");
    refused(image_spec(R"("arch":"mlp","hidden":65536,"depth":64)"), "parameters",
            ErrorCode::job_limit);
}

TEST_CASE("model_spec: parameters and work of models of images follow from their operations") {
    const TrainSpec resnet = parsed_train(image_spec(kResnet));
    CHECK(std::get<ResnetShape>(resnet.model) == ResnetShape{{10, 3, 32, 32}, 16, 3, 2});
    // Convolutions, norms (two numbers a channel), head.
    const std::uint64_t convolutions = 27 * 16 + 4 * 9 * 16 * 16 + 9 * 16 * 32 + 3 * 9 * 32 * 32 +
                                       16 * 32 + 9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64;
    CHECK(parameter_count(resnet.model) ==
          convolutions + 2 * (5 * 16 + 5 * 32 + 5 * 64) + 64 * 10 + 10);
    const std::uint64_t products = 1024 * (27 * 16 + 4 * 9 * 16 * 16) +
                                   256 * (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32) +
                                   64 * (9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64) + 640;
    CHECK(flops_per_step(resnet) == 3 * 16 * 2 * products + 16 * parameter_count(resnet.model));

    const TrainSpec vit = parsed_train(image_spec(kVit));
    CHECK(std::get<VitShape>(vit.model) == VitShape{{10, 3, 32, 32}, 4, 64, 4, 4});
    const std::uint64_t layer = 12 * 64 * 64 + 13 * 64;
    CHECK(parameter_count(vit.model) == 48 * 64 + 64 + 64 * 64 + 4 * layer + 128 + 640 + 10);
    const std::uint64_t token = 4 * (24 * 64 * 64 + 4 * 64 * 64) + 2 * 48 * 64;
    CHECK(flops_per_step(vit) == 3 * 16 * (64 * token + 2 * 640) + 16 * parameter_count(vit.model));

    const TrainSpec mlp = parsed_train(image_spec(kMlp));
    CHECK(parameter_count(mlp.model) == 3072 * 128 + 128 + 128 * 128 + 128 + 1280 + 10);
    CHECK(samples_per_step(mlp) == 16);
    CHECK(std::holds_alternative<TarData>(mlp.data));
}

TEST_CASE("model_spec: a gpt over tokens has any vocabulary, over bytes 256") {
    const std::string tokens = with(gpt_spec(), R"("format":"text")", R"("format":"tokens")");
    const TrainSpec spec = parsed_train(with(tokens, "\"vocab\":256", "\"vocab\":50257"));
    CHECK(std::get<GptShape>(spec.model).vocab == 50257);
    CHECK(blobs_of(spec.data).text.has_value());
    const std::string jsonl =
        with(gpt_spec(), R"("format":"text")", R"("format":"jsonl","field":"body")");
    CHECK(std::get<JsonlData>(parsed_train(jsonl).data).field == "body");
    const std::string lines = with(image_spec(kMlp), "\"format\":\"tar\"", "\"format\":\"jsonl\"");
    CHECK(std::holds_alternative<ImageJsonlData>(parsed_train(lines).data));
    CHECK(blobs_of(parsed_train(lines).data).images.has_value());
    CHECK_FALSE(blobs_of(parsed_train(lines).data).text.has_value());
    refused(with(jsonl, "\"field\":\"body\"", "\"field\":\"\""), "data.field");
    refused(with(jsonl, ",\"field\":\"body\"", ""), "data.field");
    refused(with(jsonl, "\"vocab\":256", "\"vocab\":300"), "model.vocab");
    refused(with(tokens, "\"vocab\":256", "\"vocab\":999999"), "model.vocab");
}

TEST_CASE("model_spec: a folder of files that is none is refused") {
    const std::string good = folder_spec();
    REQUIRE(parse_job_spec(good).has_value());
    refused(with(good, "config.json", "Config.json"), "lacks config.json");
    refused(with(good, "tokenizer.json", "vocab.json"), "lacks tokenizer.json");
    refused(with(good, "model.safetensors", "model.bin"), "no safetensors");
    refused(with(good, "bf16", "fp8"), "weights_format");
    refused(with(good, R"("weights_format":"bf16")", R"("weights_format":4)"), "weights_format");
    refused(with(good, R"("weights_format":"bf16")", R"("weights":")" + kHash + "\""), "weights");
    refused(with(good, R"("weights_format":"bf16")", R"("tokenizer":"bytes")"), "tokenizer");
    refused(with(good, R"("weights_format":"bf16")", R"("model":{})"), "model");
    refused(with(good, kHash, "0xabc"), "files.config.json");
    refused(with(good, "\"" + kHash + "\"", "7"), "files.config.json");
    refused(R"({"version":1,"kind":"infer.serve","files":[],"name":"a"})", "object");
    for (const char* name : {"", ".", "..", ".hidden", "../config.json", "a/b", "a\\\\b", "a b",
                             "a\\u0000b", "caf\u00e9"})
        refused(with(good, R"({"config.json")",
                     "{\"" + std::string(name) + "\":\"" + kHash + "\",\"config.json\""),
                "has a name");
    refused(with(good, "tokenizer.json", "tokenizer.json" + std::string(128, 'a')), "has a name");
    std::string many;
    for (int i = 0; i < 254; ++i)
        many += fmt::format("\"m{}.safetensors\":\"{}\",", i, kHash);
    refused(with(good, R"({"config.json")", "{" + many + R"("config.json")"), "more than 256");
}

TEST_CASE("model_spec: a folder of files gives its values and its hash") {
    const auto parsed = parse_job_spec(folder_spec());
    REQUIRE(parsed.has_value());
    const auto& spec = std::get<ServeSpec>(*parsed);
    const auto& files = std::get<FolderFiles>(spec.source);
    CHECK(spec.name == "tiny");
    CHECK(files.blobs.size() == 3);
    CHECK(files.format == worker::kernels::WeightFormat::kBf16);
    const std::string canonical = R"({"config.json":")" + kHash + R"(","model.safetensors":")" +
                                  kHash + R"(","tokenizer.json":")" + kHash + "\"}";
    CHECK(model_hash(spec) == ledger::base::sha256(ledger::base::as_bytes(canonical)));
    const auto eight = parse_job_spec(with(folder_spec(), "bf16", "int8"));
    REQUIRE(eight.has_value());
    CHECK(std::get<FolderFiles>(std::get<ServeSpec>(*eight).source).format ==
          worker::kernels::WeightFormat::kInt8);
    CHECK(model_hash(std::get<ServeSpec>(*eight)) == model_hash(spec));
    CHECK(memory_estimate(*parsed) == 0);
}

TEST_CASE("model_spec: a good spec gives its values") {
    const auto parsed = parse_job_spec(gpt_spec());
    REQUIRE(parsed.has_value());
    const auto& spec = std::get<TrainSpec>(*parsed);
    CHECK(std::get<GptShape>(spec.model) == GptShape{256, 192, 4, 6, 128});
    CHECK(spec.learning_rate == doctest::Approx(0.001));
    CHECK(spec.weight_decay == doctest::Approx(0.01));
    CHECK(spec.steps == 300);
    CHECK(spec.declared_flops_per_step == 123);
    CHECK(samples_per_step(spec) == 16 * 128);
    CHECK(parameter_count(spec.model) == 1'853'568);
    const std::uint64_t forward = 2048ULL * (4 * (24 * 192 * 192 + 4 * 128 * 192) + 2 * 192 * 256);
    CHECK(flops_per_step(spec) == 3 * forward + 16 * 1'853'568ULL);
}

TEST_CASE("model_spec: a serving spec gives its values") {
    const std::string spec =
        R"({"version":1,"kind":"infer.serve","model":{"arch":"gpt","vocab":256,"width":32,)"
        R"("depth":2,"heads":2,"context":64},"weights":")" +
        kHash + R"(","tokenizer":"bytes","name":"moby-1m"})";
    const auto parsed = parse_job_spec(spec);
    REQUIRE(parsed.has_value());
    const auto& served = std::get<ServeSpec>(*parsed);
    CHECK(served.name == "moby-1m");
    CHECK(std::get<OwnModel>(served.source).model == ModelSpec(GptShape{256, 32, 2, 2, 64}));
    CHECK(ledger::base::to_hex(model_hash(served)) == kHash);
    CHECK(memory_estimate(*parsed) > 0);
    refused(with(spec, "bytes", "bpe"), "tokenizer");
    refused(with(spec, "moby-1m", ""), "name");
}

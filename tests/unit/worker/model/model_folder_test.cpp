// SPDX-License-Identifier: Apache-2.0
#include "worker/model/model_folder.hpp"

#include "tests/unit/worker/model/decoder_fixture.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <limits>
#include <string>
#include <string_view>

using namespace worker::model;
using namespace worker::model::test;
using ledger::base::ErrorCode;
using nlohmann::json;
namespace fs = std::filesystem;
namespace kernels = worker::kernels;

namespace {

constexpr std::string_view kConfig = R"({"architectures":["LlamaForCausalLM"],
    "model_type":"llama","vocab_size":50,"hidden_size":32,"num_hidden_layers":2,
    "num_attention_heads":2,"intermediate_size":64,"max_position_embeddings":64})";

void refused(const fs::path& folder, ErrorCode code, std::string_view why) {
    kernels::Pool pool(1);
    const auto loaded = load_folder(folder, kernels::WeightFormat::kF32, pool);
    REQUIRE_FALSE(loaded.has_value());
    CHECK_MESSAGE(loaded.error().code() == code, loaded.error().message());
    CHECK_MESSAGE(loaded.error().detail().find(why) != std::string::npos, loaded.error().detail());
}

/// A good model, changed, written and refused.
template <typename Change>
void refused_model(Change change, std::string_view why) {
    RandomModel model = make_random_model(kConfig, 1);
    change(model);
    const TempDir dir;
    write_model(model, dir.path());
    refused(dir.path(), ErrorCode::data_invalid, why);
}

struct Sharded {
    Sharded() {
        write_model(make_random_model(kConfig, 1), dir.path(), Dtype::kF32, 3);
        index = json::parse(read_file(dir / "model.safetensors.index.json"));
    }
    void write_index() const { dir.write("model.safetensors.index.json", index.dump()); }
    TempDir dir;
    json index;
};

}  // namespace

TEST_CASE("model_folder: files that are missing, links or too long are refused") {
    const TempDir dir;
    refused(dir.path(), ErrorCode::data_missing, "config.json");
    dir.write("config.json", kConfig);
    refused(dir.path(), ErrorCode::data_missing, "model.safetensors");
    dir.write("pytorch_model.bin", "pickle");
    refused(dir.path(), ErrorCode::data_missing, "model.safetensors");
    dir.write("config.json", std::string((1U << 20U) + 1, ' '));
    refused(dir.path(), ErrorCode::data_invalid, "config.json");

    const TempDir other;
    write_model(make_random_model(kConfig, 1), other.path());
    dir.write("config.json", kConfig);
    fs::create_symlink(other / "model.safetensors", dir / "model.safetensors");
    refused(dir.path(), ErrorCode::data_invalid, "symbolic link");
    fs::remove(dir / "model.safetensors");
    fs::remove(dir / "config.json");
    fs::create_symlink(other / "config.json", dir / "config.json");
    refused(dir.path(), ErrorCode::data_invalid, "symbolic link");
    other.write("model.safetensors.index.json", "{}");
    refused(other.path(), ErrorCode::data_invalid, "both");
}

TEST_CASE("model_folder: an index that is wrong or leaves the folder is refused") {
    const Sharded good;
    kernels::Pool pool(1);
    CHECK(load_folder(good.dir.path(), kernels::WeightFormat::kF32, pool).has_value());
    const auto with_index = [](const json& index, std::string_view why) {
        Sharded folder;
        folder.index = index;
        folder.write_index();
        refused(folder.dir.path(), ErrorCode::data_invalid, why);
    };
    with_index(json::array(), "weight_map");
    with_index({{"weight_map", json::object()}}, "weight_map");
    with_index({{"weight_map", {{"a", 7}}}}, "folder");
    for (const char* name : {"../model-0.safetensors", "/etc/passwd", "x/model-0.safetensors",
                             ".safetensors", "", "model-0.bin", "..", "a\nb.safetensors"})
        with_index({{"weight_map", {{"a", name}}}}, "folder");
}

TEST_CASE("model_folder: shards hold exactly what the index lists for them") {
    {
        const Sharded folder;
        fs::remove(folder.dir / "model-1.safetensors");
        refused(folder.dir.path(), ErrorCode::data_missing, "model-1.safetensors");
    }
    {
        const Sharded folder;
        fs::rename(folder.dir / "model-1.safetensors", folder.dir / "real.safetensors");
        fs::create_symlink(folder.dir / "real.safetensors", folder.dir / "model-1.safetensors");
        refused(folder.dir.path(), ErrorCode::data_invalid, "symbolic link");
    }
    {
        Sharded folder;  // listed in another shard
        folder.index["weight_map"]["model.norm.weight"] =
            folder.index["weight_map"]["model.norm.weight"] == "model-0.safetensors"
                ? "model-1.safetensors"
                : "model-0.safetensors";
        folder.write_index();
        refused(folder.dir.path(), ErrorCode::data_invalid, "model-");
    }
    {
        Sharded folder;  // listed and not there
        folder.index["weight_map"]["model.extra"] = "model-0.safetensors";
        folder.write_index();
        refused(folder.dir.path(), ErrorCode::data_invalid, "model-0.safetensors has");
    }
    {
        Sharded folder;  // there and not listed
        folder.index["weight_map"].erase("model.norm.weight");
        folder.write_index();
        refused(folder.dir.path(), ErrorCode::data_invalid, "model.norm.weight");
    }
    {
        const Sharded folder;
        fs::resize_file(folder.dir / "model-2.safetensors",
                        fs::file_size(folder.dir / "model-2.safetensors") - 1);
        refused(folder.dir.path(), ErrorCode::data_invalid, "safetensors");
    }
}

TEST_CASE("model_folder: weights that contradict the config are refused by name") {
    const auto drop = [](const char* name) {
        return [name](RandomModel& model) { REQUIRE(model.tensors.erase(name) == 1); };
    };
    for (const char* name :
         {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight",
          "model.layers.1.self_attn.k_proj.weight", "model.layers.0.input_layernorm.weight",
          "model.layers.0.mlp.up_proj.weight"})
        refused_model(drop(name), name);
    const auto add = [](const char* name) {
        return [name](RandomModel& model) { model.tensors[name] = {{32}, std::vector<float>(32)}; };
    };
    refused_model(add("model.layers.0.self_attn.q_proj.bias"), "q_proj.bias");
    refused_model(add("model.layers.2.input_layernorm.weight"), "layers.2");
    refused_model(add("model.layers.0.attn.bias"), "attn.bias");  // GPT-2's mask, in a Llama
    const auto config = [](const json& change) {
        return [change](RandomModel& model) {
            json c = json::parse(model.config);
            c.merge_patch(change);
            model.config = c.dump();
        };
    };
    refused_model(config({{"num_hidden_layers", 1}}), "layers.1");
    refused_model(config({{"num_hidden_layers", 3}}), "layers.2");
    refused_model(config({{"vocab_size", 51}}), "embed_tokens");
    refused_model(config({{"intermediate_size", 65}}), "gate_proj");
    refused_model(config({{"num_key_value_heads", 1}}), "k_proj");
    refused_model(config({{"attention_bias", true}}), "q_proj.bias");
    refused_model(
        [](RandomModel& model) {
            model.tensors["model.layers.0.mlp.down_proj.weight"].shape = {64, 32};
        },
        "down_proj.weight has the shape [64, 32], the config gives [32, 64]");
}

TEST_CASE("model_folder: numbers that are not finite are refused with the tensor's name") {
    for (const char* name :
         {"model.embed_tokens.weight", "model.norm.weight", "model.layers.1.mlp.down_proj.weight",
          "model.layers.0.self_attn.v_proj.weight"})
        for (const float bad :
             {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
            refused_model([&](RandomModel& model) { model.tensors.at(name).values.back() = bad; },
                          name);
}

TEST_CASE("model_folder: integers are no weights") {
    RandomModel model = make_random_model(kConfig, 1);
    const TempDir dir;
    dir.write("config.json", kConfig);
    std::vector<TensorView> tensors;
    for (const auto& [name, tensor] : model.tensors)
        tensors.push_back({name,
                           name == "model.norm.weight" ? Dtype::kI32 : Dtype::kF32,
                           tensor.shape,
                           {reinterpret_cast<const std::uint8_t*>(tensor.values.data()),
                            tensor.values.size() * 4}});
    REQUIRE(write_safetensors(dir / "model.safetensors", tensors, {}).has_value());
    refused(dir.path(), ErrorCode::data_invalid, "model.norm.weight is I32");
}

TEST_CASE("model_folder: buffers that follow from the config are passed over") {
    RandomModel model = make_random_model(kConfig, 1);
    model.tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = {{8}, std::vector<float>(8)};
    const Running running(model);
    CHECK(running.weights->layers.size() == 2);

    RandomModel gpt2 = make_random_model(
        R"({"model_type":"gpt2","vocab_size":50,"n_embd":32,"n_layer":1,"n_head":2,
            "n_positions":16})",
        1);
    gpt2.tensors["transformer.h.0.attn.bias"] = {{1, 1, 4, 4}, std::vector<float>(16)};
    gpt2.tensors["transformer.h.0.attn.masked_bias"] = {{}, std::vector<float>(1)};
    gpt2.tensors["lm_head.weight"] = gpt2.tensors.at("transformer.wte.weight");
    CHECK(Running(gpt2).weights->layers.size() == 1);
    // Without the prefix, as in the first files.
    RandomModel bare{gpt2.config, {}};
    for (const auto& [name, tensor] : gpt2.tensors)
        bare.tensors[name.substr(name.starts_with("transformer.") ? 12 : 0)] = tensor;
    CHECK(Running(bare).weights->layers.size() == 1);
}

TEST_CASE("model_folder: the memory of the weights is as told, and smaller when rounded") {
    const RandomModel model = make_random_model(kConfig, 1);
    std::uint64_t numbers = 0;
    for (const auto& [name, tensor] : model.tensors)
        numbers += tensor.values.size();
    const Running exact(model);
    CHECK(parameter_count(exact.weights->config) == numbers);
    CHECK(exact.weights->bytes() >= 4 * numbers);
    CHECK(exact.weights->bytes() < 5 * numbers);  // panels of 16 outputs: 50 becomes 64
    const Running small(model, Dtype::kF32, 1, kernels::WeightFormat::kInt4);
    CHECK(small.weights->bytes() < exact.weights->bytes() / 3);
}

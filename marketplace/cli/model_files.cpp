// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/model_files.hpp"

#include "ledger/rpc/blob_transfer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace marketplace::cli {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

constexpr std::size_t kFilesMax = 256;
constexpr std::array<std::string_view, 5> kSmallFiles{"config.json", "generation_config.json",
                                                      "tokenizer.json", "tokenizer.model",
                                                      "tokenizer_config.json"};
constexpr std::string_view kWeights = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";

Result<std::vector<std::string>> list_weights(const fs::path& folder) {
    std::error_code error;
    if (fs::is_regular_file(folder / kWeights, error))
        return std::vector<std::string>{std::string(kWeights)};
    std::vector<std::string> out;
    if (fs::is_regular_file(folder / kIndex, error)) out.emplace_back(kIndex);
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
        const std::string name = at->path().filename().string();
        if (!name.ends_with(".safetensors") || !at->is_regular_file(error)) continue;
        if (out.size() >= kFilesMax - kSmallFiles.size())
            return fail(ErrorCode::too_large, "the folder has too many safetensors");
        out.push_back(name);
    }
    if (error) return fail(ErrorCode::io_error, "cannot list " + folder.string());
    if (out.size() < 2 || out.front() != kIndex)
        return fail(ErrorCode::data_missing, fmt::format("{} has neither {} nor {} with its shards",
                                                         folder.string(), kWeights, kIndex));
    return out;
}

}  // namespace

Result<std::vector<std::string>> list_model_files(const fs::path& folder) {
    std::error_code error;
    if (!fs::is_directory(folder, error))
        return fail(ErrorCode::data_missing, "there is no folder " + folder.string());
    TRY_ASSIGN(std::vector<std::string> out, list_weights(folder));
    for (const std::string_view name : kSmallFiles)
        if (fs::is_regular_file(folder / name, error)) out.emplace_back(name);
    std::sort(out.begin(), out.end());
    const auto has = [&](std::string_view name) {
        return std::find(out.begin(), out.end(), name) != out.end();
    };
    if (!has("config.json"))
        return fail(ErrorCode::data_missing, folder.string() + " has no config.json");
    // Workers read tokenizer.json only; a folder without it would fail after it was sent and paid
    // for.
    if (!has("tokenizer.json") && has("tokenizer.model"))
        return fail(ErrorCode::unsupported,
                    folder.string() +
                        " has a tokenizer.model but no tokenizer.json, which workers read: take it "
                        "from the model's page, or save the folder again with a fast tokenizer "
                        "(AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR))");
    if (!has("tokenizer.json"))
        return fail(ErrorCode::data_missing, folder.string() + " has no tokenizer.json");
    for (const std::string& name : out) {
        const std::uint64_t bytes = fs::file_size(folder / name, error);
        if (error) return fail(ErrorCode::io_error, "cannot read " + name);
        if (bytes > ledger::rpc::kTransferBytesMax)
            return fail(ErrorCode::too_large,
                        fmt::format("{} has {} bytes, the market takes files of at most {}: save "
                                    "the model in smaller shards",
                                    name, bytes, ledger::rpc::kTransferBytesMax));
    }
    return out;
}

}  // namespace marketplace::cli

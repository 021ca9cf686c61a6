// SPDX-License-Identifier: Apache-2.0
#include "worker/model/model_folder.hpp"

#include "worker/model/json_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <system_error>
#include <utility>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::size_t kConfigBytesMax = 1U << 20U;
constexpr std::size_t kIndexBytesMax = 32U << 20U;
constexpr std::size_t kIndexTensorsMax = 200'000;
constexpr std::size_t kShardsMax = 1024;

Result<std::string> read_text(const fs::path& path, std::size_t bytes_max) {
    TRY_ASSIGN(const MappedFile file, MappedFile::open(path));
    if (file.bytes().size() > bytes_max)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} is longer than {} bytes", path.filename().string(), bytes_max));
    return std::string(ledger::base::as_text(file.bytes()));
}

/// A link counts as there, so that opening it says what is wrong.
bool is_there(const fs::path& path) {
    std::error_code ignored;
    return fs::symlink_status(path, ignored).type() != fs::file_type::not_found;
}

/// A plain name inside of the folder: letters, digits, '.', '_', '-', not hidden.
bool plain_name(std::string_view name) {
    return !name.empty() && name.size() <= 255 && name.front() != '.' &&
           name.ends_with(".safetensors") && std::all_of(name.begin(), name.end(), [](char c) {
               return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' ||
                      c == '-';
           });
}

using Listed = std::map<std::string, std::string, std::less<>>;  // tensor → file

Result<Listed> read_index(const fs::path& path) {
    TRY_ASSIGN(const std::string text, read_text(path, kIndexBytesMax));
    const auto parsed = JsonValue::parse(text, 8);
    if (!parsed)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{}: {}", kIndex, parsed.error().detail()));
    const auto weight_map = parsed->member("weight_map");
    if (!weight_map || !weight_map->is_object() || weight_map->size() == 0 ||
        weight_map->size() > kIndexTensorsMax)
        return fail(ErrorCode::data_invalid, fmt::format("{}: weight_map must list 1 to {} tensors",
                                                         kIndex, kIndexTensorsMax));
    Listed out;
    for (const auto& [tensor, file] : weight_map->members()) {
        if (file.text() == nullptr || !plain_name(*file.text()))
            return fail(
                ErrorCode::data_invalid,
                fmt::format("{}: {} is not in a *.safetensors file of the folder", kIndex, tensor));
        out.emplace(tensor, *file.text());
    }
    return out;
}

}  // namespace

Result<void> TensorSet::take(SafetensorsFile file) {
    for (const TensorView& tensor : file.index().tensors)
        if (!tensors_.emplace(tensor.name, tensor).second)
            return fail(ErrorCode::data_invalid, tensor.name + " is in two files");
    files_.push_back(std::move(file));
    return {};
}

Result<TensorSet> TensorSet::open_file(const fs::path& file) {
    TensorSet out;
    TRY_ASSIGN(SafetensorsFile opened, SafetensorsFile::open(file));
    TRY(out.take(std::move(opened)));
    return out;
}

Result<TensorSet> TensorSet::open_folder(const fs::path& folder) {
    const bool single = is_there(folder / kSingle);
    const bool sharded = is_there(folder / kIndex);
    if (single && sharded)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} and {} are both there", kSingle, kIndex));
    if (single) return open_file(folder / kSingle);
    if (!sharded)
        return fail(
            ErrorCode::data_missing,
            fmt::format("the folder has no {}; other formats are converted first", kSingle));
    TRY_ASSIGN(const Listed listed, read_index(folder / kIndex));
    std::map<std::string, std::size_t> shards;  // tensors listed for each
    for (const auto& [tensor, file] : listed)
        ++shards[file];
    if (shards.size() > kShardsMax)
        return fail(ErrorCode::data_invalid,
                    fmt::format("{} lists more than {} files", kIndex, kShardsMax));
    TensorSet out;
    for (const auto& [name, count] : shards) {
        TRY_ASSIGN(SafetensorsFile file, SafetensorsFile::open(folder / name));
        for (const TensorView& tensor : file.index().tensors) {
            const auto place = listed.find(tensor.name);
            if (place == listed.end() || place->second != name)
                return fail(ErrorCode::data_invalid,
                            fmt::format("{} holds {}, which {} does not list for it", name,
                                        tensor.name, kIndex));
        }
        // Names are unique in a file, so equal counts mean that none is missing.
        if (file.index().tensors.size() != count)
            return fail(ErrorCode::data_invalid,
                        fmt::format("{} has {} tensors, {} lists {}", name,
                                    file.index().tensors.size(), kIndex, count));
        TRY(out.take(std::move(file)));
    }
    return out;
}

const TensorView* TensorSet::find(std::string_view name) const {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : &found->second;
}

Result<ModelFolder> ModelFolder::open(const fs::path& folder) {
    TRY_ASSIGN(std::string config, read_text(folder / "config.json", kConfigBytesMax));
    std::optional<std::string> generation;
    if (is_there(folder / "generation_config.json")) {
        TRY_ASSIGN(generation, read_text(folder / "generation_config.json", kConfigBytesMax));
    }
    TRY_ASSIGN(TensorSet tensors, TensorSet::open_folder(folder));
    return ModelFolder{std::move(config), std::move(generation), std::move(tensors)};
}

}  // namespace worker::model

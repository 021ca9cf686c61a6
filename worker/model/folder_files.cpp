// SPDX-License-Identifier: Apache-2.0
#include "worker/model/folder_files.hpp"

#include "ledger/base/hex.hpp"

#include <cstddef>

namespace worker::model {

using ledger::base::ErrorCode;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

constexpr std::size_t kFilesMax = 256;
constexpr std::size_t kFileNameMax = 128;

/// The names become files: none may leave its folder or hide in it.
bool is_plain_name(std::string_view name) {
    constexpr std::string_view kPlain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    return !name.empty() && name.size() <= kFileNameMax && name.front() != '.' &&
           name.find_first_not_of(kPlain) == std::string_view::npos;
}

}  // namespace

Result<Hash32> read_hash(const FieldReader& in, std::string_view name) {
    TRY_ASSIGN(const std::string text, in.text(name, 66));
    auto hash = ledger::base::parse_fixed<Hash32>(text);
    if (!hash || text.size() != 66) return in.refuse(name, "must be 0x and 64 hex digits");
    return *hash;
}

Result<FileBlobs> read_folder_files(const FieldReader& in, const JsonValue& files) {
    FileBlobs out;
    if (!files.is_object()) return in.refuse("files", "must be an object");
    if (files.size() > kFilesMax) return in.refuse("files", "lists more than 256");
    bool weights = false;
    for (const auto& [name, value] : files.members()) {
        if (!is_plain_name(name))
            return in.refuse("files",
                             "has a name that is not 1 to 128 letters, digits, '-', '_' "
                             "and '.', without a dot in front");
        const FieldReader one(files, "files", ErrorCode::job_spec_invalid);
        TRY_ASSIGN(out[name], read_hash(one, name));
        weights = weights || name.ends_with(".safetensors");
    }
    if (!out.contains("config.json")) return in.refuse("files", "lacks config.json");
    if (!weights) return in.refuse("files", "has no safetensors");
    if (!out.contains("tokenizer.json") && !out.contains("tokenizer.model"))
        return in.refuse("files", "lacks tokenizer.json or tokenizer.model");
    return out;
}

}  // namespace worker::model

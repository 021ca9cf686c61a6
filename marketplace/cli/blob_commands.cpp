// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/cli/blob.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <vector>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

struct BlobOptions {
    std::string hash;
    std::string file;
};

Result<void> upload(Context& context, const BlobOptions& options) {
    TRY_ASSIGN(const Hash32 hash, upload_file(context, options.file));
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(options.file, error);
    if (context.json()) {
        context.print_json({{"hash", to_hex(hash)}, {"bytes", bytes}});
    } else {
        context.out.line(to_hex(hash));
    }
    return {};
}

Result<void> download(Context& context, const BlobOptions& options) {
    TRY_ASSIGN(const Hash32 hash, ledger::base::parse_fixed<Hash32>(options.hash));
    TRY(download_blob(context, hash, options.file));
    std::error_code error;
    const std::uint64_t bytes = std::filesystem::file_size(options.file, error);
    if (context.json()) {
        context.print_json({{"hash", to_hex(hash)}, {"bytes", bytes}, {"file", options.file}});
    } else {
        context.say(fmt::format("{}  {} (hash checked)", options.file, format_bytes(bytes)));
    }
    return {};
}

}  // namespace

Result<Hash32> hash_file(const std::filesystem::path& file) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error))
        return fail(ErrorCode::data_missing, "there is no file " + file.string());
    std::ifstream in(file, std::ios::binary);
    if (!in) return fail(ErrorCode::data_missing, "cannot read " + file.string());
    ledger::base::Sha256 hash;
    std::vector<char> buffer(1U << 20U);
    while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())), in.gcount() > 0)
        hash.update(ledger::base::as_bytes(
            std::string_view(buffer.data(), static_cast<std::size_t>(in.gcount()))));
    if (in.bad()) return fail(ErrorCode::io_error, "cannot read " + file.string());
    return hash.finish();
}

Result<Hash32> upload_file(Context& context, const std::filesystem::path& file) {
    TRY_ASSIGN(const Hash32 hash, hash_file(file));
    TRY(context.market().upload(to_hex(hash), file));
    return hash;
}

Result<void> download_blob(Context& context, const Hash32& hash,
                           const std::filesystem::path& file) {
    std::filesystem::path part = file;
    part += ".part";
    TRY(context.market().download("/v1/blobs/" + to_hex(hash), Auth::kSession,
                                  "\"" + to_hex(hash) + "\"", part));
    TRY_ASSIGN(const Hash32 found, hash_file(part));
    std::error_code error;
    if (found != hash) {
        std::filesystem::remove(part, error);
        return fail(ErrorCode::audit_failed,
                    "the market sent other bytes than " + to_hex(hash) + "; nothing was kept");
    }
    std::filesystem::rename(part, file, error);
    if (error) return fail(ErrorCode::io_error, "cannot write " + file.string());
    return {};
}

void add_blob_commands(CLI::App& app, const Choose& choose) {
    auto options = std::make_shared<BlobOptions>();
    CLI::App* up = app.add_subcommand("upload", "Store a file with the market; prints its hash");
    up->add_option("FILE", options->file)->required();
    choose(up, [options](Context& c) { return upload(c, *options); });
    CLI::App* down = app.add_subcommand("download", "Fetch a blob and check its hash");
    down->add_option("HASH", options->hash, "0x and 64 hex digits")->required();
    down->add_option("FILE", options->file)->required();
    choose(down, [options](Context& c) { return download(c, *options); });
}

}  // namespace marketplace::cli

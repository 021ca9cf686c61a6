// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_seal.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/sealed_blob.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/blob.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/wire/sealed_job.hpp"

#include <fmt/format.h>

#include <array>
#include <fstream>
#include <system_error>
#include <utility>

namespace marketplace::cli {
namespace {

namespace fs = std::filesystem;
using ledger::base::Bytes;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::DataKey;
using nlohmann::json;

constexpr std::size_t kRecordBytesMax = 4096;

/// Context of the key that the buyer keeps for itself: no lease's key can stand in its place.
Bytes kept_key_context(const Hash32& salt) {
    Bytes out;
    ledger::base::append(out, ledger::base::as_bytes("millrace kept key 1"));
    ledger::base::append(out, salt.span());
    return out;
}

/// A job's name comes from outside: only a well-formed one becomes part of a path.
std::optional<fs::path> record_path(const Context& context, const std::string& job) {
    const auto id = domain::JobId::parse(job);
    if (!id) return std::nullopt;
    return context.settings.data / "sealed" / (id->to_string() + ".json");
}

bool is_sealed_file(const fs::path& file) {
    std::array<char, 8> magic{};
    std::ifstream in(file, std::ios::binary);
    return in.read(magic.data(), magic.size()) &&
           std::string_view(magic.data(), magic.size()) == "MRSEALED";
}

/// Removes a file that is of no use any more, whatever happened.
class Remover {
 public:
    explicit Remover(fs::path file) : file_(std::move(file)) {}
    Remover(const Remover&) = delete;
    Remover& operator=(const Remover&) = delete;
    ~Remover() {
        std::error_code ignored;
        fs::remove(file_, ignored);
    }

 private:
    fs::path file_;
};

fs::path with_suffix(fs::path file, const char* suffix) {
    file += suffix;
    return file;
}

}  // namespace

JobSeal JobSeal::make() {
    return JobSeal(DataKey::generate(), random_hash());
}

Result<std::string> JobSeal::to_record(const ledger::crypto::PublicKey& account) const {
    TRY_ASSIGN(const Bytes wrapped,
               ledger::crypto::wrap_key(key_, account, kept_key_context(salt_)));
    return ledger::rpc::to_text(
        {{"version", 1}, {"salt", to_hex(salt_)}, {"wrapped_key", to_hex(wrapped)}});
}

Result<JobSeal> JobSeal::parse_record(std::string_view text,
                                      const ledger::crypto::PrivateKey& account) {
    const auto refuse = [] {
        return fail(ErrorCode::data_invalid,
                    "the kept key is damaged, or was kept for another wallet");
    };
    const auto record = ledger::rpc::parse_json(text);
    if (!record || !record->is_object()) return refuse();
    const auto version = ledger::rpc::integer_at(*record, "version");
    if (!version || *version != 1)
        return fail(ErrorCode::unsupported, "a key kept by another version of this program");
    const auto salt_text = ledger::rpc::string_at(*record, "salt");
    const auto key_text = ledger::rpc::string_at(*record, "wrapped_key");
    if (!salt_text || !key_text) return refuse();
    const auto salt = ledger::base::parse_fixed<Hash32>(*salt_text);
    const auto wrapped = ledger::base::parse_hex(*key_text, ledger::crypto::kWrappedKeyBytes);
    if (!salt || !wrapped) return refuse();
    auto key = ledger::crypto::unwrap_key(*wrapped, account, kept_key_context(*salt));
    if (!key) return refuse();
    return JobSeal(std::move(*key), *salt);
}

Result<void> JobSeal::keep(Context& context, const std::string& job) const {
    const auto path = record_path(context, job);
    if (!path) return fail(ErrorCode::invalid_field, "a job's name begins with job_");
    TRY_ASSIGN(const auto* wallet, context.key());
    TRY_ASSIGN(const std::string record, to_record(wallet->public_key()));
    return write_private_file(*path, record);
}

Result<std::optional<JobSeal>> JobSeal::find(Context& context, const std::string& job) {
    const auto path = record_path(context, job);
    if (!path) return std::optional<JobSeal>();
    TRY_ASSIGN(const auto record, read_small_file(*path, kRecordBytesMax));
    if (!record) return std::optional<JobSeal>();
    TRY_ASSIGN(const auto* wallet, context.key());
    auto seal = parse_record(*record, *wallet);
    if (!seal) return fail(seal.error().code(), path->string() + ": " + seal.error().detail());
    return std::optional<JobSeal>(std::move(*seal));
}

Result<Hash32> JobSeal::take(Context& context, const fs::path& file, Blobs blobs) const {
    if (blobs == Blobs::kHashOnly) {
        // The plain file's own hash would tell the market which file it is.
        TRY(hash_file(file));
        return random_hash();
    }
    const fs::path folder = context.settings.data / "sealed";
    std::error_code error;
    fs::create_directories(folder, error);
    if (!error) fs::permissions(folder, fs::perms::owner_all, error);
    if (error) return fail(ErrorCode::io_error, "cannot make " + folder.string());
    const fs::path sealed = folder / (to_hex(random_hash()).substr(2, 16) + ".sealed");
    const Remover remover(sealed);
    TRY(ledger::crypto::seal_file(file, sealed, key_, wire::sealed_blob_context(salt_)));
    return upload_file(context, sealed);
}

Result<void> JobSeal::open(const fs::path& sealed, const fs::path& plain) const {
    return ledger::crypto::open_file(sealed, plain, key_, wire::sealed_blob_context(salt_));
}

Result<Bytes> JobSeal::wrap(const ledger::crypto::PublicKey& reader, const Hash32& lease) const {
    return ledger::crypto::wrap_key(key_, reader, wire::wrapped_key_context(lease));
}

bool keeps_seal(const Context& context, const std::string& job) {
    const auto path = record_path(context, job);
    std::error_code error;
    return path && fs::exists(*path, error);
}

Result<void> fetch_artifact(Context& context, const std::string& job, const Hash32& hash,
                            const fs::path& file) {
    TRY_ASSIGN(const auto seal, JobSeal::find(context, job));
    const fs::path fetched = with_suffix(file, ".fetched");
    TRY(download_blob(context, hash, fetched));
    std::error_code error;
    if (!seal && !is_sealed_file(fetched)) {
        fs::rename(fetched, file, error);
        if (error) return fail(ErrorCode::io_error, "cannot write " + file.string());
        return {};
    }
    const Remover remover(fetched);
    if (!seal)
        return fail(ErrorCode::data_missing,
                    fmt::format("the result is sealed, and the key of {} is in the data folder "
                                "that it was posted from",
                                job));
    const fs::path plain = with_suffix(file, ".opened");
    if (const auto opened = seal->open(fetched, plain); !opened)
        return fail(opened.error().code(),
                    "the result was not sealed for this job: " + opened.error().detail());
    fs::rename(plain, file, error);
    if (error) return fail(ErrorCode::io_error, "cannot write " + file.string());
    return {};
}

}  // namespace marketplace::cli

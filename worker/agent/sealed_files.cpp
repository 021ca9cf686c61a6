// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/sealed_files.hpp"

#include "ledger/crypto/sealed_blob.hpp"
#include "marketplace/wire/sealed_job.hpp"
#include "worker/agent/market_http.hpp"

#include <system_error>
#include <utility>

namespace worker::agent {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;

Result<SealedFiles> SealedFiles::make(KeySource& keys, const LeaseTerms& terms, const Hash32& salt,
                                      const ledger::crypto::PrivateKey& worker, fs::path folder) {
    const auto wrapped = keys.job_key(terms.job, terms.lease);
    // The buyer gives it after the match: asking again may help.
    if (!wrapped && wrapped.error().code() == ErrorCode::not_found)
        return fail(ErrorCode::unavailable, "the buyer has given no key for its sealed data yet");
    if (!wrapped) return tl::make_unexpected(wrapped.error());
    TRY_ASSIGN(auto key,
               ledger::crypto::unwrap_key(*wrapped, worker,
                                          marketplace::wire::wrapped_key_context(terms.lease)));
    std::error_code error;
    fs::create_directories(folder, error);
    if (!error) fs::permissions(folder, fs::perms::owner_all, error);
    if (error) return fail(ErrorCode::io_error, "cannot make the folder of opened files");
    return SealedFiles(std::move(key), marketplace::wire::sealed_blob_context(salt),
                       std::move(folder));
}

Result<fs::path> SealedFiles::open(const fs::path& sealed, const std::string& name) const {
    fs::path plain = folder_ / name;
    TRY(ledger::crypto::open_file(sealed, plain, key_, context_));
    return plain;
}

Result<executor::Segment> SealedFiles::seal(executor::Segment segment) const {
    const fs::path plain = segment.checkpoint;
    segment.checkpoint += ".sealed";
    TRY(ledger::crypto::seal_file(plain, segment.checkpoint, key_, context_));
    TRY_ASSIGN(segment.sha256, hash_file(segment.checkpoint));
    std::error_code error;
    segment.bytes = fs::file_size(segment.checkpoint, error);
    if (!error) fs::remove(plain, error);
    if (error) return fail(ErrorCode::io_error, "cannot put the sealed checkpoint in place");
    return segment;
}

}  // namespace worker::agent

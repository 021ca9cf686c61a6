// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/blob_cache.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/blob_transfer.hpp"
#include "marketplace/wire/document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace worker::agent {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;

BlobsInUse blobs_of_open_leases(const LeaseStore& store) {
    return [&store] {
        std::unordered_set<Hash32> out;
        for (const auto& book : store.all()) {
            if (book->outcome() != Outcome::kOpen) continue;
            if (const auto spec = marketplace::wire::parse_job_spec(book->terms().spec))
                out.insert(spec->blobs.begin(), spec->blobs.end());
            out.insert(book->terms().start_checkpoint);
            if (const auto last = book->last_receipt()) out.insert(last->receipt.response_hash);
        }
        return out;
    };
}

CachedBlobs::CachedBlobs(MarketHttp& market, std::filesystem::path folder, std::uint64_t bytes_max,
                         BlobsInUse in_use, LogSink log)
    : market_(market),
      folder_(std::move(folder)),
      bytes_max_(bytes_max),
      in_use_(std::move(in_use)),
      log_(std::move(log)) {
    std::error_code ignored;
    std::filesystem::create_directories(folder_, ignored);
}

std::filesystem::path CachedBlobs::path_of(const Hash32& hash) const {
    return folder_ / to_hex(hash).substr(2);
}

Result<std::filesystem::path> CachedBlobs::fetch(const Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const std::filesystem::path path = path_of(hash);
    std::error_code error;
    if (std::filesystem::exists(path, error)) {
        const Result<Hash32> found = hash_file(path);
        if (found && *found == hash) {
            std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now(),
                                             error);
            return path;
        }
        std::filesystem::remove(path, error);  // damaged: fetched again
    }
    std::filesystem::path part = path;
    part += ".part";
    TRY(market_.download(hash, part, progress("fetching", hash)));
    TRY_ASSIGN(const Hash32 found, hash_file(part));
    if (found != hash) {
        std::filesystem::remove(part, error);
        return fail(ErrorCode::data_invalid, "the blob " + to_hex(hash) + " has other contents");
    }
    std::filesystem::rename(part, path, error);
    if (error) return fail(ErrorCode::io_error, "cannot keep a blob");
    trim(path);
    return path;
}

Result<void> CachedBlobs::publish(const std::filesystem::path& file, const Hash32& hash) {
    const std::lock_guard lock(mutex_);
    const std::filesystem::path path = path_of(hash);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
        std::filesystem::rename(file, path, error);
        if (error) {
            std::filesystem::copy_file(file, path, error);
            if (error) return fail(ErrorCode::io_error, "cannot keep a checkpoint");
        }
    }
    const Result<void> sent = market_.upload(hash, path, progress("sending", hash));
    if (sent) trim(path);
    return sent;
}

/// A line for each tenth of a large transfer.
MarketHttp::OnProgress CachedBlobs::progress(std::string_view what, const Hash32& hash) const {
    return [this, text = std::string(what) + " " + to_hex(hash).substr(0, 12),
            tenth = std::uint64_t{0}](std::uint64_t done, std::uint64_t total) mutable {
        if (total <= ledger::rpc::kWholeBytesMax) return;
        const std::uint64_t now = done / (total / 10);
        if (now <= tenth) return;
        tenth = now;
        log_(LogLevel::kInfo, fmt::format("{}: {} of {} MiB", text, done >> 20U, total >> 20U));
    };
}

void CachedBlobs::trim(const std::filesystem::path& keep) {
    struct Entry {
        std::filesystem::path path;
        std::filesystem::file_time_type used;
        std::uint64_t bytes = 0;
    };
    std::vector<Entry> entries;
    std::uint64_t total = 0;
    std::error_code error;
    for (const auto& item : std::filesystem::directory_iterator(folder_, error)) {
        const std::uint64_t bytes = item.file_size(error);
        if (error) continue;
        total += bytes;
        if (item.path() != keep)
            entries.push_back({item.path(), item.last_write_time(error), bytes});
    }
    if (total <= bytes_max_) return;
    const std::unordered_set<Hash32> in_use = in_use_();
    std::sort(entries.begin(), entries.end(),
              [](const Entry& a, const Entry& b) { return a.used < b.used; });
    for (const Entry& entry : entries) {
        if (total <= bytes_max_) return;
        const auto hash = ledger::base::parse_fixed<Hash32>(
            "0x" + entry.path.stem().string());  // also of ".part"
        if (hash && in_use.contains(*hash)) continue;
        if (std::filesystem::remove(entry.path, error)) total -= entry.bytes;
    }
}

}  // namespace worker::agent

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/api/task_thread.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/http/request.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

namespace marketplace::api {

/// What the store takes and how long it keeps what nothing refers to.
struct BlobLimits {
    BlobLimits(std::uint64_t all_bytes = 32ULL << 30) : total_bytes(all_bytes) {}

    std::uint64_t total_bytes;  ///< of all blobs and reserved uploads
    std::uint64_t account_bytes = std::numeric_limits<std::uint64_t>::max();  ///< of one account
    ledger::base::TimeMs keep_ms = 7ULL * 24 * 3600 * 1000;  ///< unused this long: may be collected
    ledger::base::TimeMs upload_ms = 24ULL * 3600 * 1000;    ///< an upload in parts left alone
};

/// Files named by their SHA-256. A blob is there wholly or not at all: it is written beside,
/// checked, synced and renamed. The account that brought it is charged for it. Thread-safe.
class BlobStore {
 public:
    /// Makes the folder if needed, drops what a crash left half written, reads what is there.
    /// `clock` outlives the store.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<BlobStore>> open(
        std::filesystem::path folder, BlobLimits limits,
        const ledger::base::Clock& clock = system_clock());
    ~BlobStore();

    /// An upload on its way; dropping it uncommitted removes its file.
    class Upload final : public http::BodySink {
     public:
        Upload(BlobStore& store, const domain::Hash32& hash, const domain::Address& account,
               std::uint64_t length, int fd, std::filesystem::path path);
        ~Upload() override;
        Upload(const Upload&) = delete;
        Upload& operator=(const Upload&) = delete;
        [[nodiscard]] ledger::base::Result<void> write(std::string_view piece) override;

     private:
        friend class BlobStore;
        BlobStore& store_;
        domain::Hash32 expected_;
        domain::Address account_;
        std::uint64_t reserved_ = 0;
        std::uint64_t written_ = 0;
        int fd_ = -1;  // -1: the blob was there already, the bytes are only checked
        std::filesystem::path path_;
        ledger::base::Sha256 hash_;
    };

    /// `account` is charged; the zero address, for the market's own files, has no limit of its own.
    /// disk_full: the store is full; too_large: the account's share is.
    [[nodiscard]] ledger::base::Result<std::shared_ptr<Upload>> begin(
        const domain::Hash32& hash, std::uint64_t length, const domain::Address& account = {});
    enum class Stored : std::uint8_t { kNew, kKnown };
    /// Checks the hash, syncs and renames on the store's thread; `done` is called there.
    /// data_invalid: other bytes than the name says.
    void commit(std::shared_ptr<Upload> upload,
                std::function<void(ledger::base::Result<Stored>)> done);

    /// Where the blob lies; empty when it is not there. Counts as use: the blob stays at least
    /// `keep_ms` from now.
    [[nodiscard]] std::optional<std::filesystem::path> find(const domain::Hash32& hash) const;
    [[nodiscard]] bool has(const domain::Hash32& hash) const { return find(hash).has_value(); }
    [[nodiscard]] std::uint64_t used_bytes() const;
    [[nodiscard]] std::uint64_t account_bytes(const domain::Address& account) const;
    [[nodiscard]] std::size_t count() const;

    /// Blobs unused for `keep_ms`: those that nobody refers to may be dropped.
    [[nodiscard]] std::vector<domain::Hash32> unused() const;
    /// Removes the blob if it is still unused: the bytes freed, 0 when it stays. Who reads the file
    /// has it open and reads on.
    std::uint64_t drop(const domain::Hash32& hash);
    /// Blobs and bytes dropped since the start.
    struct Freed {
        std::uint64_t blobs = 0;
        std::uint64_t bytes = 0;
    };
    [[nodiscard]] Freed freed() const;

    // For uploads in parts (BlobUploads).
    [[nodiscard]] ledger::base::Result<void> reserve(const domain::Address& account,
                                                     std::uint64_t bytes);
    void release(const domain::Address& account, std::uint64_t bytes);
    /// Takes a checked and synced file of `bytes`, reserved before, as the blob. With kKnown the
    /// file is gone and its bytes are still reserved.
    [[nodiscard]] ledger::base::Result<Stored> adopt(const std::filesystem::path& file,
                                                     const domain::Hash32& hash,
                                                     const domain::Address& account,
                                                     std::uint64_t bytes);
    /// Runs on the store's thread, which may wait for the disk; false when its queue is full.
    [[nodiscard]] bool post(std::function<void()> work) { return thread_.post(std::move(work)); }
    /// Ends the store's thread after what it was given; later work is refused.
    void stop() { thread_.stop(); }
    [[nodiscard]] const std::filesystem::path& folder() const noexcept { return folder_; }
    [[nodiscard]] const BlobLimits& limits() const noexcept { return limits_; }
    [[nodiscard]] const ledger::base::Clock& clock() const noexcept { return clock_; }

    [[nodiscard]] static const ledger::base::Clock& system_clock();

 private:
    struct Entry {
        std::uint64_t bytes = 0;
        domain::Address account;
        ledger::base::TimeMs used_ms = 0;
    };

    BlobStore(std::filesystem::path folder, BlobLimits limits, const ledger::base::Clock& clock);
    [[nodiscard]] ledger::base::Result<void> scan();
    [[nodiscard]] ledger::base::Result<void> scan_blobs(const std::filesystem::path& shelf);
    [[nodiscard]] ledger::base::Result<void> scan_owners();
    [[nodiscard]] std::filesystem::path path_of(const domain::Hash32& hash) const;
    [[nodiscard]] std::filesystem::path owner_path(const domain::Address& account,
                                                   const domain::Hash32& hash) const;
    [[nodiscard]] ledger::base::Result<Stored> finish(Upload& upload);
    [[nodiscard]] ledger::base::Result<Stored> keep_known(const domain::Hash32& hash) const;

    const std::filesystem::path folder_;
    const BlobLimits limits_;
    const ledger::base::Clock& clock_;
    mutable std::mutex mutex_;
    mutable std::unordered_map<domain::Hash32, Entry> blobs_;
    std::unordered_map<domain::Address, std::uint64_t> charged_;  // reserved uploads counted
    std::uint64_t used_bytes_ = 0;                                // reserved uploads counted
    std::uint64_t next_upload_ = 0;
    Freed freed_;
    TaskThread thread_{256};
};

/// io_error or disk_full, from errno.
[[nodiscard]] tl::unexpected<ledger::base::Error> blob_disk_error();
/// Writes all of `piece` at `offset`.
[[nodiscard]] ledger::base::Result<void> write_blob_bytes(int fd, std::string_view piece,
                                                          std::uint64_t offset);

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/result.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/api/task_thread.hpp"
#include "marketplace/domain/resource.hpp"
#include "marketplace/http/request.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

namespace marketplace::api {

/// Files named by their SHA-256. A blob is there wholly or not at all: it is written beside,
/// checked, synced and renamed. Thread-safe.
class BlobStore {
 public:
    /// Makes the folder if needed, drops what a crash left half written, counts what is there.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<BlobStore>> open(
        std::filesystem::path folder, std::uint64_t quota_bytes);

    /// An upload on its way; dropping it uncommitted removes its file.
    class Upload final : public http::BodySink {
     public:
        Upload(BlobStore& store, const domain::Hash32& hash, std::uint64_t length, int fd,
               std::filesystem::path path);
        ~Upload() override;
        Upload(const Upload&) = delete;
        Upload& operator=(const Upload&) = delete;
        [[nodiscard]] ledger::base::Result<void> write(std::string_view piece) override;

     private:
        friend class BlobStore;
        BlobStore& store_;
        domain::Hash32 expected_;
        std::uint64_t reserved_ = 0;
        std::uint64_t written_ = 0;
        int fd_ = -1;  // -1: the blob was there already, the bytes are only checked
        std::filesystem::path path_;
        ledger::base::Sha256 hash_;
    };

    /// disk_full when the quota does not allow `length` more bytes.
    [[nodiscard]] ledger::base::Result<std::shared_ptr<Upload>> begin(const domain::Hash32& hash,
                                                                      std::uint64_t length);
    enum class Stored : std::uint8_t { kNew, kKnown };
    /// Checks the hash, syncs and renames on the store's thread; `done` is called there.
    /// data_invalid: other bytes than the name says.
    void commit(std::shared_ptr<Upload> upload,
                std::function<void(ledger::base::Result<Stored>)> done);

    /// Where the blob lies; empty when it is not there.
    [[nodiscard]] std::optional<std::filesystem::path> find(const domain::Hash32& hash) const;
    [[nodiscard]] bool has(const domain::Hash32& hash) const { return find(hash).has_value(); }
    [[nodiscard]] std::uint64_t used_bytes() const;

 private:
    BlobStore(std::filesystem::path folder, std::uint64_t quota_bytes);
    [[nodiscard]] ledger::base::Result<void> scan();
    [[nodiscard]] std::filesystem::path path_of(const domain::Hash32& hash) const;
    [[nodiscard]] ledger::base::Result<Stored> finish(Upload& upload);
    void release(std::uint64_t bytes);

    const std::filesystem::path folder_;
    const std::uint64_t quota_bytes_;
    mutable std::mutex mutex_;
    std::uint64_t used_bytes_ = 0;
    std::uint64_t next_upload_ = 0;
    TaskThread thread_{256};
};

}  // namespace marketplace::api

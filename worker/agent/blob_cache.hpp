// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "worker/agent/lease_book.hpp"
#include "worker/agent/market_http.hpp"
#include "worker/agent/ports.hpp"

#include <filesystem>
#include <functional>
#include <mutex>
#include <unordered_set>

namespace worker::agent {

/// Blobs that must stay in the cache whatever its size.
using BlobsInUse = std::function<std::unordered_set<Hash32>()>;

/// Blobs of open leases: what their specs name, the checkpoint they begin from and the last one
/// they signed for. `store` outlives the function.
[[nodiscard]] BlobsInUse blobs_of_open_leases(const LeaseStore& store);

/// Blobs in a folder, fetched from the market when they are missing. Above `bytes_max` the least
/// recently used go, but never one that is in use: the cache may pass its size by those.
class CachedBlobs final : public Blobs {
 public:
    CachedBlobs(MarketHttp& market, std::filesystem::path folder, std::uint64_t bytes_max,
                BlobsInUse in_use, LogSink log);
    [[nodiscard]] Result<std::filesystem::path> fetch(const Hash32& hash) override;
    [[nodiscard]] Result<void> publish(const std::filesystem::path& file,
                                       const Hash32& hash) override;

 private:
    [[nodiscard]] std::filesystem::path path_of(const Hash32& hash) const;
    [[nodiscard]] MarketHttp::OnProgress progress(std::string_view what, const Hash32& hash) const;
    void trim(const std::filesystem::path& keep);

    MarketHttp& market_;
    const std::filesystem::path folder_;
    const std::uint64_t bytes_max_;
    const BlobsInUse in_use_;
    const LogSink log_;
    std::mutex mutex_;
};

}  // namespace worker::agent

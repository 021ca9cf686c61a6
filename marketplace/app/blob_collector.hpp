// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/blob_uploads.hpp"
#include "marketplace/app/read_store.hpp"

#include <chrono>
#include <functional>
#include <memory>
#include <stop_token>
#include <thread>
#include <unordered_set>
#include <vector>

namespace marketplace::app {

using BlobReferences = std::unordered_set<domain::Hash32>;
/// Adds every blob that something of one kind refers to. An error says that not all of them could
/// be read: then nothing is dropped.
using BlobSource = std::function<ledger::base::Result<void>(BlobReferences&)>;

/// Blobs of jobs that are not final and of leases that are not closed: what their specs name, and
/// their checkpoints.
[[nodiscard]] BlobSource job_blobs(EngineThread& engine, ReadStore& reads);
/// Blobs of published models.
[[nodiscard]] BlobSource model_blobs(ReadStore& reads);
/// Blobs of accounts' files.
[[nodiscard]] BlobSource file_blobs(ReadStore& reads);

/// Drops, on a thread of its own, blobs that were unused for the store's `keep_ms` and that no
/// source names, and uploads that nobody goes on with. One file at a time: the store is never held
/// for longer. A blob somebody asked for meanwhile stays, whatever the sources said before.
class BlobCollector {
 public:
    BlobCollector(api::BlobStore& blobs, api::BlobUploads& uploads,
                  std::vector<BlobSource> sources);

    /// One round, on the caller's thread: the bytes freed.
    [[nodiscard]] ledger::base::Result<std::uint64_t> collect(const std::stop_token& stop = {});

    /// Rounds until `stop`; it waits for the one under way to notice.
    void start(std::chrono::milliseconds every);
    void stop();

 private:
    void run(const std::stop_token& stop, std::chrono::milliseconds every);

    api::BlobStore& blobs_;
    api::BlobUploads& uploads_;
    const std::vector<BlobSource> sources_;
    std::jthread thread_;
};

}  // namespace marketplace::app

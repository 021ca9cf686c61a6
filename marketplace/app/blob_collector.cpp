// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/blob_collector.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/rpc/poll.hpp"
#include "marketplace/wire/document.hpp"

#include <spdlog/spdlog.h>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using storage::CatalogStore;
using storage::Database;

namespace {

/// What the engine knows of live work: the hashes of its specs, and its checkpoints.
struct LiveWork {
    BlobReferences specs;
    BlobReferences checkpoints;
};

[[nodiscard]] LiveWork live_work(const engine::Engine& engine) {
    LiveWork out;
    const auto add = [&out](const engine::Job& job) {
        for (const domain::BidLeg& leg : job.legs)
            out.specs.insert(leg.bid.job_spec_hash);
        out.checkpoints.insert(job.checkpoint);
    };
    engine.for_each_job([&](const engine::Job& job) {
        if (!domain::is_final(job.state)) add(job);
        return true;
    });
    engine.for_each_lease([&](const domain::Lease& lease) {
        if (lease.state == domain::LeaseState::kClosed ||
            lease.state == domain::LeaseState::kOpenFailed)
            return true;
        if (const engine::Job* job = engine.find_job(lease.job)) add(*job);
        out.checkpoints.insert(lease.start_checkpoint);
        return true;
    });
    return out;
}

Result<void> add_spec(const std::string& spec, BlobReferences& out) {
    TRY_ASSIGN(const wire::JobSpec parsed, wire::parse_job_spec(spec));
    out.insert(parsed.blobs.begin(), parsed.blobs.end());
    return {};
}

}  // namespace

BlobSource job_blobs(EngineThread& engine, ReadStore& reads) {
    return [&engine, &reads](BlobReferences& out) -> Result<void> {
        TRY_ASSIGN(const LiveWork work, engine.ask(live_work));
        out.insert(work.checkpoints.begin(), work.checkpoints.end());
        for (const domain::Hash32& hash : work.specs) {
            TRY_ASSIGN(const auto spec,
                       reads.with([&](Database& db) { return CatalogStore(db).job_spec(hash); }));
            if (!spec)
                return fail(ErrorCode::data_missing,
                            "the spec of a live job: " + ledger::base::to_hex(hash));
            TRY(add_spec(*spec, out));
        }
        return {};
    };
}

BlobSource model_blobs(ReadStore& reads) {
    return [&reads](BlobReferences& out) -> Result<void> {
        TRY_ASSIGN(const auto models,
                   reads.with([](Database& db) { return CatalogStore(db).models(); }));
        for (const storage::ModelRow& model : models)
            TRY(add_spec(model.spec, out));
        return {};
    };
}

BlobSource file_blobs(ReadStore& reads) {
    return [&reads](BlobReferences& out) -> Result<void> {
        TRY_ASSIGN(const auto blobs,
                   reads.with([](Database& db) { return CatalogStore(db).file_blobs(); }));
        out.insert(blobs.begin(), blobs.end());
        return {};
    };
}

BlobCollector::BlobCollector(api::BlobStore& blobs, api::BlobUploads& uploads,
                             std::vector<BlobSource> sources)
    : blobs_(blobs), uploads_(uploads), sources_(std::move(sources)) {}

Result<std::uint64_t> BlobCollector::collect(const std::stop_token& stop) {
    const std::size_t expired = uploads_.expire();
    if (expired > 0) spdlog::info("{} uploads that nobody went on with dropped", expired);
    const std::vector<domain::Hash32> unused = blobs_.unused();
    if (unused.empty()) return 0;
    // After the list: what comes to be referred to from here on is asked for first, which is use.
    BlobReferences referred;
    for (const BlobSource& source : sources_)
        TRY(source(referred));
    std::uint64_t bytes = 0;
    std::size_t count = 0;
    for (const domain::Hash32& hash : unused) {
        if (stop.stop_requested()) break;
        if (referred.contains(hash)) continue;
        const std::uint64_t freed = blobs_.drop(hash);
        bytes += freed;
        count += freed > 0 ? 1 : 0;
    }
    if (count > 0)
        spdlog::info("{} blobs that nothing refers to dropped: {} bytes freed, {} in use", count,
                     bytes, blobs_.used_bytes());
    return bytes;
}

void BlobCollector::start(std::chrono::milliseconds every) {
    thread_ = std::jthread([this, every](const std::stop_token& stop) { run(stop, every); });
}

void BlobCollector::stop() {
    thread_.request_stop();
    if (thread_.joinable()) thread_.join();
}

void BlobCollector::run(const std::stop_token& stop, std::chrono::milliseconds every) {
    while (!ledger::rpc::pause_for(every, stop)) {
        const auto freed = collect(stop);
        if (!freed)
            spdlog::warn("no blobs dropped, not all references are known: {}",
                         freed.error().message());
    }
}

}  // namespace marketplace::app

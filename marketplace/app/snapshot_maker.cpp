// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/snapshot_maker.hpp"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace marketplace::app {
namespace {

using ledger::base::Result;

constexpr std::size_t kChunk = 1024;
constexpr int kNice = 10;  // who trades goes first

}  // namespace

SnapshotMaker::SnapshotMaker(SnapshotFiles& files, ReadRecords journal, engine::EngineConfig config,
                             std::uint64_t every)
    : files_(files), journal_(std::move(journal)), config_(std::move(config)), every_(every) {}

SnapshotMaker::~SnapshotMaker() {
    stop();
}

void SnapshotMaker::start(std::uint64_t last) {
    last_ = last;
    thread_ = std::thread([this] { run(); });
}

void SnapshotMaker::note(std::uint64_t records) {
    {
        const std::scoped_lock lock(mutex_);
        records_ = records;
        if (!is_due()) return;
    }
    wake_.notify_one();
}

void SnapshotMaker::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_one();
    if (thread_.joinable()) thread_.join();
}

bool SnapshotMaker::is_due() const noexcept {
    return records_ >= last_ + std::max(every_, last_ / 8);
}

bool SnapshotMaker::is_stopping() {
    const std::scoped_lock lock(mutex_);
    return stopping_;
}

void SnapshotMaker::run() {
    // Linux: of this thread alone.
    static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), kNice));
    for (;;) {
        std::uint64_t until = 0;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || is_due(); });
            if (stopping_) return;
            until = records_;
        }
        const auto made = make(until);
        if (!made) spdlog::warn("no snapshot: {}", made.error().message());
        const std::scoped_lock lock(mutex_);
        last_ = until;  // tried: again after as many records more
    }
}

/// When it is told to stop it leaves things as they are.
Result<void> SnapshotMaker::make(std::uint64_t until) {
    auto found = files_.newest(journal_);
    engine::Snapshot at = found ? std::move(*found) : engine::Snapshot(config_);
    found.reset();
    const std::uint64_t from = at.records;
    while (at.records < until) {
        if (is_stopping()) return {};
        const auto rows = journal_(at.records, std::min<std::uint64_t>(kChunk, until - at.records));
        if (rows.empty())
            return ledger::base::fail(ledger::base::ErrorCode::io_error, "the journal ends early");
        for (const domain::Bytes& row : rows) {
            auto followed = at.follow(row);
            if (followed) continue;
            files_.remove(from);
            return followed;
        }
    }
    return files_.write(view_of(at));
}

}  // namespace marketplace::app

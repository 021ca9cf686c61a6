// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/snapshot_files.hpp"

#include "ledger/base/hex.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <future>

namespace marketplace::app {
namespace {

using domain::Hash32;
using ledger::base::ByteView;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

constexpr const char* kSuffix = ".snapshot";
constexpr const char* kNewName = "new";
constexpr std::uint64_t kSyncBytes = 32ULL << 20U;
constexpr std::uint64_t kReserveBytes = 64ULL << 20U;  // left to the database

class File {
 public:
    File(const std::filesystem::path& path, int flags)
        : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;
    [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
    int fd_;
};

/// A file's bytes where the kernel has them already.
class MappedFile {
 public:
    explicit MappedFile(const std::filesystem::path& path) {
        const File file(path, O_RDONLY);
        struct stat facts {};
        if (file.fd() < 0 || ::fstat(file.fd(), &facts) != 0 || facts.st_size <= 0) return;
        const auto size = static_cast<std::size_t>(facts.st_size);
        void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, file.fd(), 0);
        if (data != MAP_FAILED) bytes_ = {static_cast<const std::uint8_t*>(data), size};
    }
    ~MappedFile() {
        if (!bytes_.empty())
            ::munmap(const_cast<std::uint8_t*>(bytes_.data()), bytes_.size());  // NOLINT
    }
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    [[nodiscard]] ByteView bytes() const noexcept { return bytes_; }

 private:
    ByteView bytes_;
};

bool write_all(int fd, ByteView bytes) {
    while (!bytes.empty()) {
        const ssize_t count = ::write(fd, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

/// Does the snapshot's last record stand in this journal, with that state?
Result<void> check_journal(const engine::SnapshotReader& reader, const ReadRecords& journal) {
    const auto rows =
        reader.records() == 0 ? std::vector<domain::Bytes>() : journal(reader.records() - 1, 1);
    if (rows.empty()) return fail(ErrorCode::not_found, "the journal is shorter");
    TRY_ASSIGN(const engine::Record record, engine::decode_record(rows.front()));
    if (record.sequence + 1 != reader.records() ||
        engine::record_hash(rows.front()) != reader.last_record() ||
        record.state_hash != reader.state_hash())
        return fail(ErrorCode::audit_failed, "the journal has another record there");
    return {};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

SnapshotFiles::SnapshotFiles(std::filesystem::path folder, engine::EngineConfig config)
    : folder_(std::move(folder)), config_(std::move(config)) {
    std::error_code ignored;  // writing says what is wrong
    std::filesystem::create_directories(folder_, ignored);
    std::filesystem::remove(folder_ / kNewName, ignored);
}

std::filesystem::path SnapshotFiles::path_of(std::uint64_t records) const {
    return folder_ / fmt::format("{:020}{}", records, kSuffix);
}

std::set<std::uint64_t, std::greater<>> SnapshotFiles::list() const {
    std::set<std::uint64_t, std::greater<>> out;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, error)) {
        const std::string name = entry.path().stem().string();
        std::uint64_t records = 0;
        const auto parsed = std::from_chars(name.data(), name.data() + name.size(), records);
        if (parsed.ec == std::errc() && entry.path() == path_of(records)) out.insert(records);
    }
    return out;
}

Result<engine::Snapshot> SnapshotFiles::read(std::uint64_t records,
                                             const ReadRecords& journal) const {
    const MappedFile file(path_of(records));
    TRY_ASSIGN(const engine::SnapshotReader reader,
               engine::SnapshotReader::open(file.bytes(), config_));
    TRY(check_journal(reader, journal));
    struct Rest {
        Result<engine::MarketData> market;
        Result<ledger::log::MerkleTree> log;
        bool is_whole = false;
    };
    auto rest = std::async(std::launch::async, [&reader] {
        return Rest{reader.market(), reader.log(), reader.is_whole()};
    });
    auto engine = reader.engine();
    Rest others = rest.get();
    if (!others.is_whole) return fail(ErrorCode::invalid_encoding, "its hash is another");
    TRY(engine);
    TRY(others.market);
    TRY(others.log);
    return engine::Snapshot(reader.records(), reader.last_record(), std::move(*engine),
                            std::move(*others.market), std::move(*others.log));
}

std::optional<engine::Snapshot> SnapshotFiles::newest(const ReadRecords& journal) {
    for (const std::uint64_t records : list()) {
        const auto start = std::chrono::steady_clock::now();
        auto snapshot = read(records, journal);
        if (!snapshot) {
            spdlog::warn("the snapshot of {} records is not used: {}", records,
                         snapshot.error().detail());
            continue;
        }
        spdlog::debug("snapshot of {} records read in {:.2f} s", records, seconds_since(start));
        good_ = records;
        return std::move(*snapshot);
    }
    return std::nullopt;
}

Result<void> SnapshotFiles::write_new(const engine::SnapshotView& snapshot,
                                      const std::filesystem::path& path) {
    const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
    bool is_written = file.fd() >= 0;
    std::uint64_t unsynced = 0;
    engine::write_snapshot(snapshot, config_, [&](ByteView piece) {
        is_written = is_written && write_all(file.fd(), piece);
        // A little at a time: the journal's own syncs wait for the same disk.
        unsynced += piece.size();
        if (is_written && unsynced >= kSyncBytes) {
            is_written = ::fdatasync(file.fd()) == 0;
            unsynced = 0;
        }
        reach(Stage::kPiece);
    });
    if (!is_written) return fail(ErrorCode::io_error, "the snapshot cannot be written");
    reach(Stage::kWritten);
    if (::fsync(file.fd()) != 0) return fail(ErrorCode::io_error, "the snapshot cannot be synced");
    reach(Stage::kSynced);
    return {};
}

Result<void> SnapshotFiles::write(const engine::SnapshotView& snapshot) {
    const auto start = std::chrono::steady_clock::now();
    std::error_code error;
    const std::uint64_t last_size = good_ ? std::filesystem::file_size(path_of(*good_), error) : 0;
    const auto space = std::filesystem::space(folder_, error);
    if (!error && space.available < kReserveBytes + last_size + last_size / 4)
        return fail(ErrorCode::disk_full, "no room for a snapshot");
    const auto fresh = folder_ / kNewName;
    const auto path = path_of(snapshot.records);
    if (auto written = write_new(snapshot, fresh); !written) {
        std::filesystem::remove(fresh, error);
        return written;
    }
    std::filesystem::rename(fresh, path, error);
    const File folder(folder_, O_RDONLY | O_DIRECTORY);
    if (error || folder.fd() < 0 || ::fsync(folder.fd()) != 0)
        return fail(ErrorCode::io_error, "the snapshot cannot be named");
    reach(Stage::kNamed);
    for (const std::uint64_t records : list())
        if (records != snapshot.records && records != good_)
            std::filesystem::remove(path_of(records), error);
    good_ = snapshot.records;
    reach(Stage::kTidied);
    spdlog::debug("snapshot of {} records written in {:.2f} s", snapshot.records,
                  seconds_since(start));
    return {};
}

void SnapshotFiles::remove(std::uint64_t records) {
    std::error_code ignored;
    std::filesystem::remove(path_of(records), ignored);
    if (good_ == records) good_.reset();
}

}  // namespace marketplace::app

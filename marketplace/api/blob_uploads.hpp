// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/api/blob_store.hpp"

#include <compare>
#include <map>

namespace marketplace::api {

/// A blob is at most this large; one request brings at most `limits::kHttpBlobBytes` of it.
inline constexpr std::uint64_t kBlobBytesMax = 64ULL << 30;

/// Uploads in parts that outlive a cut connection and a restart: the bytes received lie in a file
/// whose name says whose upload of which blob it is and how long the blob is; its size is the
/// offset to go on from. One upload per account and blob. The whole length is charged at once.
/// Thread-safe.
class BlobUploads {
 public:
    /// Finds what was begun before the restart. `store` outlives this.
    [[nodiscard]] static ledger::base::Result<std::unique_ptr<BlobUploads>> open(BlobStore& store);
    /// Waits for the store's thread, which may hold work of this.
    ~BlobUploads();

    /// How far an upload is; complete: the blob is stored.
    struct State {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        bool complete = false;
    };

    /// Begins an upload or finds it again. out_of_range: an empty or too large blob;
    /// exists_with_different_body: begun with another length; rate_limited: too many at once;
    /// disk_full and too_large as BlobStore::begin.
    [[nodiscard]] ledger::base::Result<State> create(const domain::Address& account,
                                                     const domain::Hash32& hash,
                                                     std::uint64_t length);
    [[nodiscard]] std::optional<State> find(const domain::Address& account,
                                            const domain::Hash32& hash) const;
    /// not_found; wrong_state while a piece is on its way.
    [[nodiscard]] ledger::base::Result<void> drop(const domain::Address& account,
                                                  const domain::Hash32& hash);

    struct Key {
        domain::Address account;
        domain::Hash32 hash;
        friend auto operator<=>(const Key&, const Key&) = default;
    };

    /// A piece on its way. Dropped early (the connection was cut), what it wrote counts.
    class Piece final : public http::BodySink {
     public:
        Piece(BlobUploads& uploads, const Key& key, std::uint64_t offset, int fd)
            : uploads_(uploads), key_(key), offset_(offset), fd_(fd) {}
        ~Piece() override;
        Piece(const Piece&) = delete;
        Piece& operator=(const Piece&) = delete;
        [[nodiscard]] ledger::base::Result<void> write(std::string_view piece) override;

     private:
        friend class BlobUploads;
        BlobUploads& uploads_;
        const Key key_;
        std::uint64_t offset_;  // where the next byte goes
        int fd_;
        bool settled_ = false;  // the upload knows how far this piece came
    };

    /// not_found; wrong_state: another offset than the upload's, or a piece is on its way;
    /// out_of_range: more than the announced length.
    [[nodiscard]] ledger::base::Result<std::shared_ptr<Piece>> append(
        const domain::Address& account, const domain::Hash32& hash, std::uint64_t offset,
        std::uint64_t bytes);
    /// Syncs the piece on the store's thread, and with the last byte checks the whole blob and
    /// stores it; `done` is called there. data_invalid: other bytes than the name says; the upload
    /// is dropped.
    void commit(std::shared_ptr<Piece> piece,
                std::function<void(ledger::base::Result<State>)> done);

    /// Drops uploads nobody added to for the limits' `upload_ms`: their number.
    std::size_t expire();

 private:
    struct Entry {
        State state;
        ledger::base::TimeMs touched_ms = 0;
        bool busy = false;  // a piece is on its way
    };

    explicit BlobUploads(BlobStore& store);
    [[nodiscard]] ledger::base::Result<void> scan();
    void take_up(const std::filesystem::path& file);
    [[nodiscard]] std::filesystem::path path_of(const Key& key, std::uint64_t length) const;
    void remove(std::map<Key, Entry>::iterator entry);  // with mutex_ held
    void settle(Piece& piece);
    [[nodiscard]] ledger::base::Result<State> finish(Piece& piece);
    [[nodiscard]] ledger::base::Result<State> store_whole(const Key& key, std::uint64_t length);

    BlobStore& store_;
    const std::filesystem::path folder_;
    mutable std::mutex mutex_;
    std::map<Key, Entry> uploads_;
};

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/bytes.hpp"
#include "ledger/base/clock.hpp"
#include "ledger/base/result.hpp"

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>

namespace ledger::signer {

/// The last voucher signed for a lease by one key.
struct LastVoucher {
    std::uint64_t sequence = 0;
    std::uint64_t amount_atoms = 0;
    std::uint64_t units = 0;
    base::Hash32 digest;
    base::Address provider;  ///< whom the lease pays
    friend bool operator==(const LastVoucher&, const LastVoucher&) = default;
};
struct LastTreeHead {
    std::uint64_t size = 0;
    base::Hash32 root;
    std::uint64_t time_ms = 0;
    friend bool operator==(const LastTreeHead&, const LastTreeHead&) = default;
};

/// What was signed, for ever: an append-only file, each line carrying a hash of itself and all
/// before it, synced before `record_*` returns. Nothing is answered that is not in it.
///
/// Beside it stands an audit file with every decision, refusals too, and the count of signatures at
/// that time: a state restored from an older copy is seen at start and refused.
class SignatureLog {
 public:
    /// io_error; wrong_state when another process holds it, when a line was changed, or when the
    /// file is older than the audit file says. A last line without its end (a crash before the
    /// answer) is cut off.
    [[nodiscard]] static base::Result<SignatureLog> open(const std::filesystem::path& folder);
    SignatureLog(SignatureLog&&) noexcept;
    SignatureLog& operator=(SignatureLog&&) noexcept;
    ~SignatureLog();

    [[nodiscard]] std::optional<LastVoucher> last_voucher(const base::Address& signer,
                                                          const base::Hash32& lease) const;
    [[nodiscard]] std::optional<LastTreeHead> last_tree_head(const base::Address& signer) const;
    /// Sums of one UTC day (days since 1970).
    [[nodiscard]] std::uint64_t transactions_on(std::uint64_t day) const;
    [[nodiscard]] std::uint64_t voucher_atoms_on(std::uint64_t day) const;
    [[nodiscard]] std::uint64_t voucher_atoms_on(std::uint64_t day,
                                                 const base::Address& provider) const;
    [[nodiscard]] std::uint64_t signatures() const noexcept { return lines_; }

    [[nodiscard]] base::Result<void> record_voucher(const base::Address& signer,
                                                    const base::Hash32& lease,
                                                    const LastVoucher& voucher,
                                                    base::TimeMs now_ms);
    [[nodiscard]] base::Result<void> record_tree_head(const base::Address& signer,
                                                      const LastTreeHead& head,
                                                      base::TimeMs now_ms);
    [[nodiscard]] base::Result<void> record_transaction(const base::Address& sender,
                                                        const base::Hash32& hash,
                                                        std::uint64_t nonce, base::TimeMs now_ms);

    /// One line of the audit file: when, what, outcome. Not synced: it is for people.
    void note(base::TimeMs now_ms, const std::string& what, const std::string& outcome);

 private:
    SignatureLog() = default;
    struct DaySums {
        std::uint64_t day = 0;
        std::uint64_t transactions = 0;
        std::uint64_t voucher_atoms = 0;
        std::map<base::Address, std::uint64_t> by_provider{};
    };
    [[nodiscard]] base::Result<void> append(const std::string& body);
    [[nodiscard]] bool apply(const std::string& body);
    [[nodiscard]] DaySums& sums_for(std::uint64_t day);
    [[nodiscard]] base::Result<void> load(const std::filesystem::path& path);
    [[nodiscard]] base::Result<void> compare_with_audit(const std::filesystem::path& path) const;

    int file_ = -1;
    int audit_ = -1;
    bool broken_ = false;  // a write or sync failed: nothing more is signed
    std::uint64_t lines_ = 0;
    base::Hash32 chain_;
    DaySums today_;
    std::map<std::pair<base::Address, base::Hash32>, LastVoucher> vouchers_;
    std::map<base::Address, LastTreeHead> tree_heads_;
};

}  // namespace ledger::signer

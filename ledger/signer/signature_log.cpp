// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/signature_log.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/base/sha256.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <utility>
#include <vector>

namespace ledger::signer {

using base::Address;
using base::ErrorCode;
using base::fail;
using base::Hash32;
using base::Result;

namespace {

constexpr std::uint64_t kDayMs = 86'400'000;

std::vector<std::string_view> split(std::string_view line) {
    std::vector<std::string_view> words;
    while (!line.empty()) {
        const std::size_t space = std::min(line.find(' '), line.size());
        words.push_back(line.substr(0, space));
        line.remove_prefix(std::min(space + 1, line.size()));
    }
    return words;
}

Hash32 chained(const Hash32& before, std::string_view body) {
    base::Bytes bytes(before.begin(), before.end());
    base::append(bytes, base::as_bytes(body));
    return base::sha256(bytes);
}

bool write_all(int file, std::string_view text) {
    while (!text.empty()) {
        const ssize_t count = ::write(file, text.data(), text.size());
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        text.remove_prefix(static_cast<std::size_t>(count));
    }
    return true;
}

template <typename Fixed>
bool take(std::string_view word, Fixed& out) {
    const auto value = base::parse_fixed<Fixed>(word);
    if (value) out = *value;
    return value.has_value();
}
bool take(std::string_view word, std::uint64_t& out) {
    const auto value = base::parse_u64(word);
    if (value) out = *value;
    return value.has_value();
}

tl::unexpected<base::Error> changed(std::uint64_t line) {
    return fail(ErrorCode::wrong_state,
                "the log of signatures was changed at line " + std::to_string(line + 1));
}

}  // namespace

SignatureLog::SignatureLog(SignatureLog&& other) noexcept {
    *this = std::move(other);
}

SignatureLog& SignatureLog::operator=(SignatureLog&& other) noexcept {
    std::swap(file_, other.file_);
    std::swap(audit_, other.audit_);
    std::swap(broken_, other.broken_);
    std::swap(lines_, other.lines_);
    std::swap(chain_, other.chain_);
    std::swap(today_, other.today_);
    std::swap(vouchers_, other.vouchers_);
    std::swap(tree_heads_, other.tree_heads_);
    return *this;
}

SignatureLog::~SignatureLog() {
    if (file_ >= 0) ::close(file_);
    if (audit_ >= 0) ::close(audit_);
}

Result<SignatureLog> SignatureLog::open(const std::filesystem::path& folder) {
    std::error_code ignored;
    std::filesystem::create_directories(folder, ignored);
    const std::filesystem::path path = folder / "signatures.log";
    const std::filesystem::path audit = folder / "audit.log";
    SignatureLog log;
    log.file_ = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log.file_ < 0) return fail(ErrorCode::io_error, "the log of signatures cannot be opened");
    if (::flock(log.file_, LOCK_EX | LOCK_NB) != 0)
        return fail(ErrorCode::wrong_state, "another signer holds this state folder");
    TRY(log.load(path));
    TRY(log.compare_with_audit(audit));
    log.audit_ = ::open(audit.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (log.audit_ < 0) return fail(ErrorCode::io_error, "the audit log cannot be opened");
    // The file's name must outlive a power loss as well as its bytes.
    const int directory = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool synced = directory >= 0 && ::fsync(directory) == 0;
    if (directory >= 0) ::close(directory);
    if (!synced) return fail(ErrorCode::io_error, "the state folder cannot be synced");
    return log;
}

Result<void> SignatureLog::load(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    std::string line;
    std::uint64_t good_bytes = 0;
    while (std::getline(file, line)) {
        if (file.eof()) break;  // no newline: never answered
        // "<body> <hash of all so far>"
        const std::size_t space = line.rfind(' ');
        if (space == line.npos) return changed(lines_);
        const std::string body = line.substr(0, space);
        Hash32 stated;
        if (!take(std::string_view(line).substr(space + 1), stated) ||
            stated != chained(chain_, body) || !apply(body))
            return changed(lines_);
        chain_ = stated;
        ++lines_;
        good_bytes += line.size() + 1;
    }
    if (::ftruncate(file_, static_cast<off_t>(good_bytes)) != 0)
        return fail(ErrorCode::io_error, "the log of signatures cannot be cut");
    return {};
}

Result<void> SignatureLog::compare_with_audit(const std::filesystem::path& path) const {
    std::ifstream file(path, std::ios::binary);
    std::string line;
    std::uint64_t most = 0;
    while (std::getline(file, line)) {
        const auto words = split(line);
        std::uint64_t count = 0;
        if (words.size() >= 2 && take(words[1], count)) most = std::max(most, count);
    }
    if (most > lines_)
        return fail(ErrorCode::wrong_state,
                    "the log of signatures is older than the audit log: " + std::to_string(lines_) +
                        " of " + std::to_string(most) + " signatures; bring back the newest copy");
    return {};
}

/// Takes a line's body into the memory; false when it is not one of ours.
bool SignatureLog::apply(const std::string& body) {
    const auto words = split(body);
    std::uint64_t time_ms = 0;
    if (words.size() < 3 || !take(words[1], time_ms)) return false;
    const std::uint64_t day = time_ms / kDayMs;
    Address signer;
    if (!take(words[2], signer)) return false;
    if (words[0] == "transaction" && words.size() == 5) {
        ++sums_for(day).transactions;
        return true;
    }
    if (words[0] == "voucher" && words.size() == 9) {
        Hash32 lease;
        LastVoucher voucher;
        if (!take(words[3], lease) || !take(words[4], voucher.sequence) ||
            !take(words[5], voucher.units) || !take(words[6], voucher.amount_atoms) ||
            !take(words[7], voucher.digest) || !take(words[8], voucher.provider))
            return false;
        LastVoucher& last = vouchers_[{signer, lease}];
        if (voucher.amount_atoms < last.amount_atoms) return false;
        DaySums& sums = sums_for(day);
        sums.voucher_atoms += voucher.amount_atoms - last.amount_atoms;
        sums.by_provider[voucher.provider] += voucher.amount_atoms - last.amount_atoms;
        last = voucher;
        return true;
    }
    if (words[0] == "tree_head" && words.size() == 6) {
        LastTreeHead head;
        if (!take(words[3], head.size) || !take(words[4], head.root) ||
            !take(words[5], head.time_ms))
            return false;
        tree_heads_[signer] = head;
        return true;
    }
    return false;
}

SignatureLog::DaySums& SignatureLog::sums_for(std::uint64_t day) {
    // A clock that goes back must not open a fresh allowance: days only move forward.
    if (day > today_.day) today_ = {day, 0, 0, {}};
    return today_;
}

std::optional<LastVoucher> SignatureLog::last_voucher(const Address& signer,
                                                      const Hash32& lease) const {
    const auto found = vouchers_.find({signer, lease});
    if (found == vouchers_.end()) return std::nullopt;
    return found->second;
}

std::optional<LastTreeHead> SignatureLog::last_tree_head(const Address& signer) const {
    const auto found = tree_heads_.find(signer);
    if (found == tree_heads_.end()) return std::nullopt;
    return found->second;
}

std::uint64_t SignatureLog::transactions_on(std::uint64_t day) const {
    return day > today_.day ? 0 : today_.transactions;
}

std::uint64_t SignatureLog::voucher_atoms_on(std::uint64_t day) const {
    return day > today_.day ? 0 : today_.voucher_atoms;
}

std::uint64_t SignatureLog::voucher_atoms_on(std::uint64_t day, const Address& provider) const {
    const auto found = today_.by_provider.find(provider);
    return day > today_.day || found == today_.by_provider.end() ? 0 : found->second;
}

Result<void> SignatureLog::append(const std::string& body) {
    if (broken_) return fail(ErrorCode::io_error, "the log of signatures failed before; restart");
    const Hash32 next = chained(chain_, body);
    // After a failed write or sync the file's content is unknown: stop until a restart reads it.
    broken_ = !write_all(file_, body + " " + base::to_hex(next) + "\n") || ::fdatasync(file_) != 0;
    if (broken_) return fail(ErrorCode::io_error, "the log of signatures was not synced");
    MR_CHECK(apply(body));
    chain_ = next;
    ++lines_;
    return {};
}

Result<void> SignatureLog::record_voucher(const Address& signer, const Hash32& lease,
                                          const LastVoucher& voucher, base::TimeMs now_ms) {
    return append("voucher " + std::to_string(now_ms) + " " + base::to_hex(signer) + " " +
                  base::to_hex(lease) + " " + std::to_string(voucher.sequence) + " " +
                  std::to_string(voucher.units) + " " + std::to_string(voucher.amount_atoms) + " " +
                  base::to_hex(voucher.digest) + " " + base::to_hex(voucher.provider));
}

Result<void> SignatureLog::record_tree_head(const Address& signer, const LastTreeHead& head,
                                            base::TimeMs now_ms) {
    return append("tree_head " + std::to_string(now_ms) + " " + base::to_hex(signer) + " " +
                  std::to_string(head.size) + " " + base::to_hex(head.root) + " " +
                  std::to_string(head.time_ms));
}

Result<void> SignatureLog::record_transaction(const Address& sender, const Hash32& hash,
                                              std::uint64_t nonce, base::TimeMs now_ms) {
    return append("transaction " + std::to_string(now_ms) + " " + base::to_hex(sender) + " " +
                  std::to_string(nonce) + " " + base::to_hex(hash));
}

void SignatureLog::note(base::TimeMs now_ms, const std::string& what, const std::string& outcome) {
    write_all(audit_, std::to_string(now_ms) + " " + std::to_string(lines_) + " " + what + ": " +
                          outcome + "\n");
}

}  // namespace ledger::signer

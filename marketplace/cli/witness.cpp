// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/witness.hpp"

#include "ledger/base/hex.hpp"
#include "marketplace/cli/public_log.hpp"
#include "marketplace/cli/settings.hpp"
#include "marketplace/engine/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <string>
#include <utility>

namespace marketplace::cli {

using ledger::base::ByteView;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr std::size_t kHeadBytes = 4096;

Result<void> sync_path(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
    if (descriptor >= 0) ::close(descriptor);
    if (!done) return fail(ErrorCode::io_error, "cannot sync " + path.filename().string());
    return {};
}

}  // namespace

Result<Witness> Witness::open(const std::filesystem::path& folder) {
    std::error_code failed;
    std::filesystem::create_directories(folder, failed);
    if (failed) return fail(ErrorCode::io_error, "cannot make " + folder.string());
    Witness witness(folder);
    TRY_ASSIGN(const auto head, read_small_file(folder / "head.json", kHeadBytes));
    if (head) {
        TRY_ASSIGN(witness.last_, wire::parse_signed_head(*head));
    }
    TRY(witness.read_copy());
    witness.copy_.open(folder / "log.jsonl", std::ios::binary | std::ios::app);
    if (!witness.copy_) return fail(ErrorCode::io_error, "cannot write " + folder.string());
    return witness;
}

Result<void> Witness::read_copy() {
    const std::filesystem::path path = folder_ / "log.jsonl";
    std::ifstream in(path, std::ios::binary);
    std::uint64_t whole = 0;  // bytes of complete lines
    std::string line;
    bool is_head_met = !last_;
    while (std::getline(in, line)) {
        if (in.eof()) break;  // cut: its end of line is missing
        const auto record = parse_log_line(line, tree_.size());
        if (!record || !follow(*record))
            return fail(ErrorCode::log_damaged, fmt::format("record {} of log.jsonl", size()));
        whole += line.size() + 1;
        if (last_ && tree_.size() == last_->head.size)
            is_head_met = tree_.root() == last_->head.root;
    }
    if (!is_head_met)
        return fail(ErrorCode::log_damaged,
                    fmt::format("log.jsonl does not lead to the head of {} records that was "
                                "co-signed",
                                last_->head.size));
    in.close();
    std::error_code failed;
    if (std::filesystem::exists(path)) std::filesystem::resize_file(path, whole, failed);
    if (failed) return fail(ErrorCode::io_error, "cannot cut log.jsonl");
    return {};
}

Result<void> Witness::follow(ByteView bytes) {
    const auto record = engine::decode_record(bytes);
    if (!record || record->sequence != tree_.size() || record->previous != previous_)
        return fail(ErrorCode::audit_failed,
                    fmt::format("record {} does not follow the one before it", tree_.size()));
    tree_.append_data(bytes);
    previous_ = engine::record_hash(bytes);
    return {};
}

Result<void> Witness::append(ByteView record) {
    const std::string line = log_line(record, tree_.size());
    TRY(follow(record));
    copy_ << line << '\n';
    if (!copy_) return fail(ErrorCode::io_error, "cannot write log.jsonl");
    return {};
}

Result<void> Witness::sync() {
    copy_.flush();
    if (!copy_) return fail(ErrorCode::io_error, "cannot write log.jsonl");
    TRY(sync_path(folder_ / "log.jsonl"));
    return sync_path(folder_);
}

Error Witness::alarm(const wire::SignedHead& proposal, const char* what) {
    std::string evidence = "{\"served\":" + to_json(proposal);
    if (last_) evidence += ",\"cosigned\":" + to_json(*last_);
    evidence += fmt::format(R"(,"copy":{{"size":{},"root":"{}"}}}})", tree_.size(),
                            ledger::base::to_hex(tree_.root()));
    const std::string name = fmt::format("alarm-{}.json", proposal.head.size);
    const bool kept = write_private_file(folder_ / name, evidence + "\n").has_value();
    return Error(ErrorCode::audit_failed,
                 fmt::format("{} (head of {} records{})", what, proposal.head.size,
                             kept ? "; evidence in " + name : ""));
}

Result<ledger::base::Signature> Witness::cosign(const wire::SignedHead& proposal,
                                                const ledger::eth::Domain& domain,
                                                const ledger::base::Address& market_operator,
                                                const ledger::crypto::PrivateKey& key) {
    const ledger::eth::TreeHead& head = proposal.head;
    const ledger::base::Hash32 digest = ledger::eth::digest(domain, head);
    TRY(ledger::crypto::verify(digest, proposal.signature, market_operator));
    if (last_ && head == last_->head) return key.sign(digest);
    if (last_ && (head.size < last_->head.size || head.time_ms < last_->head.time_ms))
        return tl::make_unexpected(alarm(proposal, "the operator signed a head that goes back"));
    if (head.size > tree_.size())
        return fail(ErrorCode::wrong_state, "its records are not all read yet");
    // The copy is read up to a head and no further, so an older one was judged before.
    if (head.size < tree_.size() || head.root != tree_.root())
        return tl::make_unexpected(alarm(proposal, "the operator signed another history"));
    TRY(sync());
    TRY(write_private_file(folder_ / "head.json", to_json(proposal) + "\n"));
    TRY(sync_path(folder_));
    last_ = proposal;
    return key.sign(digest);
}

}  // namespace marketplace::cli

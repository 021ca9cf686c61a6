// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/disk_check.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace marketplace::app {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {
constexpr std::uint64_t kRecordsPerRead = 1'000;
constexpr std::uint64_t kRecordsPerCall = 100'000;
}  // namespace

Result<bool> DiskCheck::reach(std::uint64_t size) {
    const std::uint64_t to = std::min(size, tree_.size() + kRecordsPerCall);
    while (tree_.size() < to) {
        const std::uint64_t first = tree_.size();
        const auto records =
            log_.records(first, std::min<std::uint64_t>(to - first, kRecordsPerRead));
        if (records.empty()) return fail(ErrorCode::io_error, "the log cannot be read from disk");
        for (const domain::Bytes& record : records) {
            const domain::Hash32 leaf = ledger::log::leaf_hash(record);
            TRY_ASSIGN(const domain::Hash32 logged, log_.leaf(tree_.size()));
            if (leaf != logged)
                return fail(ErrorCode::log_damaged,
                            fmt::format("record {} changed on disk", tree_.size()));
            tree_.append(leaf);
        }
    }
    if (tree_.size() != size) return false;
    TRY_ASSIGN(const domain::Hash32 root, log_.root_at(size));
    if (root != tree_.root())
        return fail(ErrorCode::log_damaged, "the records on disk have another root");
    return true;
}

}  // namespace marketplace::app

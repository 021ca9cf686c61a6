// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/wire/document.hpp"

#include <cstddef>
#include <mutex>
#include <string_view>
#include <unordered_map>

namespace marketplace::wire {

/// Resource documents that were parsed before: a machine is listed again at every new price.
/// Found by the hash of their text, so that only the very same text is taken for parsed.
/// Thread-safe; bounded, and emptied when it is full.
class ResourceCache {
 public:
    static constexpr std::size_t kDocumentsMax = 4096;
    static constexpr std::size_t kBytesMax = 1024;  ///< longer documents are parsed each time

    /// As parse_resource. Refusals are not kept.
    [[nodiscard]] ledger::base::Result<domain::Resource> parse(std::string_view canonical);
    [[nodiscard]] std::size_t size() const;

 private:
    mutable std::mutex mutex_;
    std::unordered_map<domain::Hash32, domain::Resource> known_;
};

}  // namespace marketplace::wire

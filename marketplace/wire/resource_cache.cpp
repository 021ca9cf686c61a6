// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/resource_cache.hpp"

namespace marketplace::wire {

using ledger::base::Result;

Result<domain::Resource> ResourceCache::parse(std::string_view canonical) {
    if (canonical.size() > kBytesMax) return parse_resource(canonical);
    const domain::Hash32 hash = document_hash(canonical);
    {
        const std::scoped_lock lock(mutex_);
        if (const auto found = known_.find(hash); found != known_.end()) return found->second;
    }
    TRY_ASSIGN(domain::Resource resource, parse_resource(canonical));
    const std::scoped_lock lock(mutex_);
    if (known_.size() >= kDocumentsMax) known_.clear();
    known_.emplace(hash, resource);
    return resource;
}

std::size_t ResourceCache::size() const {
    const std::scoped_lock lock(mutex_);
    return known_.size();
}

}  // namespace marketplace::wire

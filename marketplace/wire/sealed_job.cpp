// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/sealed_job.hpp"

#include <string_view>

namespace marketplace::wire {
namespace {

ledger::base::Bytes tagged(std::string_view tag, const ledger::base::Hash32& hash) {
    ledger::base::Bytes out;
    ledger::base::append(out, ledger::base::as_bytes(tag));
    ledger::base::append(out, hash.span());
    return out;
}

}  // namespace

ledger::base::Bytes sealed_blob_context(const ledger::base::Hash32& salt) {
    return tagged("millrace sealed job 1", salt);
}

ledger::base::Bytes wrapped_key_context(const ledger::base::Hash32& lease) {
    return tagged("millrace lease key 1", lease);
}

}  // namespace marketplace::wire

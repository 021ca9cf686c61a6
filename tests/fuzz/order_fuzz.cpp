// SPDX-License-Identifier: Apache-2.0
// Posted orders, their documents and worker messages: what is accepted is written again as text
// that reads the same and has the same EIP-712 hash.
#include "ledger/base/check.hpp"
#include "ledger/eth/messages.hpp"
#include "marketplace/wire/order_json.hpp"
#include "marketplace/wire/worker_json.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace wire = marketplace::wire;

namespace {

void post_ask(std::string_view text) {
    const auto ask = wire::parse_post_ask(text);
    if (!ask) return;
    const std::string written = wire::post_ask_json(*ask);
    const auto again = wire::parse_post_ask(written);
    MR_CHECK(again.has_value());
    MR_CHECK(ledger::eth::struct_hash(again->ask) == ledger::eth::struct_hash(ask->ask));
    MR_CHECK(wire::post_ask_json(*again) == written);
}

void post_job(std::string_view text) {
    const auto job = wire::parse_post_job(text);
    if (!job) return;
    const std::string written = wire::post_job_json(*job);
    const auto again = wire::parse_post_job(written);
    MR_CHECK(again.has_value());
    MR_CHECK(wire::post_job_json(*again) == written);
    for (std::size_t i = 0; i < job->command.legs.size(); ++i)
        MR_CHECK(ledger::eth::struct_hash(again->command.legs[i].bid) ==
                 ledger::eth::struct_hash(job->command.legs[i].bid));
}

void documents(std::string_view text) {
    const auto canonical = wire::canonicalise(text);
    if (!canonical) return;
    MR_CHECK(wire::canonicalise(*canonical) == *canonical);
    if (const auto resource = wire::parse_resource(*canonical))
        MR_CHECK(wire::parse_resource(wire::resource_document(*resource)) == *resource);
    if (const auto constraints = wire::parse_constraints(*canonical))
        MR_CHECK(wire::parse_constraints(wire::constraints_document(*constraints)) == *constraints);
    static_cast<void>(wire::parse_job_spec(*canonical));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    post_ask(text);
    post_job(text);
    documents(text);
    if (const auto message = wire::decode_worker_message(text)) {
        const std::string written = wire::encode(*message);
        const auto again = wire::decode_worker_message(written);
        MR_CHECK(again.has_value());
        MR_CHECK(wire::encode(*again) == written);
    }
    return 0;
}

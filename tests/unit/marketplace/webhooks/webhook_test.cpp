// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/webhook.hpp"

#include <doctest/doctest.h>

#include <set>

namespace marketplace::webhooks {

using ledger::base::ErrorCode;

TEST_CASE("webhook: patterns that cover no event are refused") {
    CHECK(check_patterns({}).error().code() == ErrorCode::missing_field);
    for (const char* pattern : {"", "job", "job.", "job.x", ".*", "jo*", "**", "webhook.test",
                                "Job.*", "job.* ", "job.*.*"})
        CHECK_MESSAGE(check_patterns({"*", pattern}).error().code() == ErrorCode::invalid_field,
                      pattern);
    CHECK(check_patterns(std::vector<std::string>(kPatternsPerEndpoint + 1, "*")).error().code() ==
          ErrorCode::out_of_range);
    CHECK(check_patterns({"*"}));
    CHECK(check_patterns({"job.*", "settlement.paid"}));
}

TEST_CASE("webhook: patterns cover a type, a group or everything") {
    CHECK(is_wanted({"job.completed"}, "job.completed"));
    CHECK_FALSE(is_wanted({"job.completed"}, "job.failed"));
    CHECK(is_wanted({"lease.open"}, "lease.open"));
    CHECK_FALSE(is_wanted({"lease.open"}, "lease.open_failed"));
    CHECK(is_wanted({"order.closed", "job.*"}, "job.failed"));
    CHECK_FALSE(is_wanted({"job.*"}, "jobs.failed"));
    CHECK(is_wanted({"*"}, "settlement.paid"));
    CHECK_FALSE(is_wanted({}, "settlement.paid"));
}

TEST_CASE("webhook: a message's id depends on endpoint, record and place, and on nothing else") {
    std::set<std::string> seen;
    for (const char* endpoint : {"whk_1", "whk_2"})
        for (const std::uint64_t sequence : {0U, 1U, 11U})
            for (const std::size_t index : {0U, 1U, 11U})
                seen.insert(message_id(endpoint, sequence, index));
    CHECK(seen.size() == 18);
    CHECK(message_id("whk_1", 1, 11) == message_id("whk_1", 1, 11));
    CHECK(message_id("whk_1", 1, 11).size() == 36);
}

}  // namespace marketplace::webhooks

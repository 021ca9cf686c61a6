// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/job_records.hpp"

#include <doctest/doctest.h>

using namespace marketplace;

TEST_CASE("job_records: pages by sequence and keeps the last ones") {
    app::JobRecords records;
    domain::JobId job;
    CHECK(records.after(job, 0, 10).empty());
    for (std::size_t i = 0; i < app::JobRecords::kPerJob + 5; ++i)
        records.add(job, i, "train", "{}");
    const auto first = records.after(job, 0, 3);
    REQUIRE(first.size() == 3);
    CHECK(first.front().sequence == 6);  // five fell out
    CHECK(records.after(job, first.back().sequence, 1).front().sequence == 9);
    CHECK(records.after(job, app::JobRecords::kPerJob + 5, 10).empty());
}

TEST_CASE("job_records: forgets the oldest job beyond the cap") {
    app::JobRecords records;
    const auto id = [](std::size_t i) {
        domain::JobId job;
        job.data()[0] = static_cast<std::uint8_t>(i);
        job.data()[1] = static_cast<std::uint8_t>(i >> 8);
        return job;
    };
    for (std::size_t i = 0; i <= app::JobRecords::kJobs; ++i)
        records.add(id(i), 0, "phase", "{}");
    CHECK(records.after(id(0), 0, 1).empty());
    CHECK(records.after(id(app::JobRecords::kJobs), 0, 1).size() == 1);
}

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_order.hpp"

#include <doctest/doctest.h>

namespace marketplace::cli {

using ledger::base::ErrorCode;

namespace {

constexpr std::uint64_t kNow = 1'800'000'000;  // 2027-01-15T08:00:00Z

ErrorCode refused(const OrderOptions& options) {
    const auto window = to_window(options, kNow);
    if (!window) return window.error().code();
    const auto constraints = to_constraints(options, *window);
    REQUIRE(!constraints.has_value());
    return constraints.error().code();
}

}  // namespace

TEST_CASE("job_order: moments are absolute in UTC, or from now") {
    for (const char* bad : {"", "+", "+m", "+5", "+5w", "-5m", "tomorrow", "2027-01-15", "+1e3m",
                            "2027-01-15T08:00", "2027-01-15T08:00Zx", "+99999999d"}) {
        CAPTURE(bad);
        CHECK(parse_moment(bad, kNow).error().code() == ErrorCode::invalid_field);
    }
    CHECK(parse_moment("+90m", kNow) == kNow + 5400);
    CHECK(parse_moment("+12h", kNow) == kNow + 43'200);
    CHECK(parse_moment("+3d", kNow) == kNow + 259'200);
    CHECK(parse_moment("2027-01-15T08:00Z", kNow) == kNow);
    CHECK(parse_moment("2027-01-15T08:00:07Z", 0) == kNow + 7);
}

TEST_CASE("job_order: windows and ramps that make no sense are refused") {
    OrderOptions options;
    options.order_class = "reserved";
    CHECK(refused(options) == ErrorCode::missing_field);
    options.start = "+2h";
    options.until = "+1h";
    CHECK(refused(options) == ErrorCode::invalid_window);
    options.until = "+2h";
    CHECK(refused(options) == ErrorCode::invalid_window);
    options = {};
    options.until = "2020-01-01T00:00Z";
    CHECK(refused(options) == ErrorCode::invalid_window);
    options = {};
    options.ramp_from = "0.1";
    CHECK(refused(options) == ErrorCode::missing_field);
    options.ramp_minutes = 5;
    options.ramp_from = "nothing";
    CHECK(refused(options) == ErrorCode::invalid_field);
    options = {};
    options.gang = 0;
    CHECK(refused(options) == ErrorCode::invalid_quantity);
    options = {};
    options.providers = {"0x12"};
    CHECK(refused(options) == ErrorCode::invalid_field);
}

TEST_CASE("job_order: the options say all that an order may demand") {
    OrderOptions options;
    options.interconnects = {"nvlink"};
    options.min_ram_mib = 64'000;
    options.min_cpu_cores = 8;
    options.min_disk_mib = 100'000;
    options.min_bandwidth_mbps = 1000;
    options.min_gflop_per_s = 900'000;
    options.min_memory_mb_per_s = 3'350'000;
    options.min_reliability = 98;
    options.numeric_class = "d1";
    options.order_class = "reserved";
    options.start = "+1h";
    options.until = "+3h";
    options.gang = 4;
    options.min_slice = 50;
    options.max_minutes = 90;
    options.ramp_from = "0.25";
    options.ramp_minutes = 10;
    options.batch = true;
    const auto window = to_window(options, kNow);
    REQUIRE(window.has_value());
    CHECK(window->earliest_s == kNow + 3600);
    CHECK(window->deadline_s == kNow + 3 * 3600);
    CHECK(to_order_class(options) == ledger::eth::OrderClass::kReserved);
    const auto wanted = to_constraints(options, *window);
    REQUIRE(wanted.has_value());
    CHECK(wanted->interconnects == std::vector<std::string>{"nvlink"});
    CHECK(wanted->min_ram_mib == 64'000);
    CHECK(wanted->min_cpu_cores == 8);
    CHECK(wanted->min_disk_mib == 100'000);
    CHECK(wanted->min_bandwidth_mbps == 1000);
    CHECK(wanted->min_gflop_per_s == 900'000);
    CHECK(wanted->min_memory_mb_per_s == 3'350'000);
    CHECK(wanted->min_reliability_bp == 9800);
    CHECK(wanted->numeric_class == domain::NumericClass::kD1);
    CHECK(wanted->gang == 4);
    CHECK(wanted->min_slice_units == 50);
    CHECK(wanted->max_duration_s == 5400);
    CHECK(wanted->ramp_from_atoms == 250'000);
    CHECK(wanted->ramp_start_s == kNow + 3600);
    CHECK(wanted->ramp_end_s == kNow + 4200);
    CHECK(wanted->clearing == domain::Clearing::kBatch);
}

TEST_CASE("job_order: a gang may cost as much as its leases together") {
    BidTerms terms;
    terms.price_ceiling_atoms = 10;
    terms.gang = 4;
    terms.volume_units = 400;
    terms.max_amount_atoms = 5000;
    CHECK(worst_case_atoms({terms}) == 4000);
    terms.max_amount_atoms = 600;
    CHECK(worst_case_atoms({terms}) == 2400);
}

}  // namespace marketplace::cli

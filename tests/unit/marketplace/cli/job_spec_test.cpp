// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_spec.hpp"

#include "ledger/base/sha256.hpp"
#include "marketplace/cli/job_order.hpp"
#include "marketplace/wire/document.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace marketplace::cli;  // NOLINT: the room under test
using ledger::base::ErrorCode;

namespace {

ledger::base::Hash32 hash_of(std::string_view text) {
    return ledger::base::sha256(ledger::base::as_bytes(text));
}

TrainPlan text_plan() {
    TrainPlan plan;
    plan.text = hash_of("text");
    return plan;
}

ErrorCode refusal(const TrainPlan& plan) {
    const auto spec = make_train_spec(plan);
    REQUIRE(!spec.has_value());
    return spec.error().code();
}

}  // namespace

TEST_CASE("job_spec: what cannot be trained is refused") {
    TrainPlan plan;
    CHECK(refusal(plan) == ErrorCode::invalid_field);  // no data
    plan = text_plan();
    plan.images = hash_of("images");
    CHECK(refusal(plan) == ErrorCode::invalid_field);
    plan = text_plan();
    plan.heads = 5;
    CHECK(refusal(plan) == ErrorCode::invalid_field);
    plan = text_plan();
    plan.steps = 0;
    CHECK(refusal(plan) == ErrorCode::invalid_field);
    plan = text_plan();
    plan.segment_steps = 301;
    CHECK(refusal(plan) == ErrorCode::invalid_field);
    for (const char* rate : {"", "0", "-1", "1e-3", "0.", ".5", "nan", "0.0"}) {
        plan = text_plan();
        plan.learning_rate = rate;
        CHECK(refusal(plan) == ErrorCode::invalid_field);
    }
    plan = text_plan();
    plan.precision = "fp8";
    CHECK(refusal(plan) == ErrorCode::invalid_field);
    plan = text_plan();
    plan.arch = "mamba";
    CHECK(!make_train_spec(plan).has_value());
}

TEST_CASE("job_spec: the spec is canonical and the market reads it") {
    const auto spec = make_train_spec(text_plan());
    REQUIRE(spec.has_value());
    const auto canonical = marketplace::wire::canonicalise(*spec);
    REQUIRE(canonical.has_value());
    CHECK(*canonical == *spec);
    const auto parsed = marketplace::wire::parse_job_spec(*spec);
    REQUIRE(parsed.has_value());
    CHECK(parsed->terms.total_units == 300);
    CHECK(parsed->terms.segment_units == 25);
    CHECK(parsed->terms.flops_per_step == flops_per_step(text_plan()));
    CHECK(parsed->blobs == std::vector<ledger::base::Hash32>{hash_of("text")});
}

TEST_CASE("job_spec: a cnn takes labelled images") {
    TrainPlan plan;
    plan.arch = "cnn";
    plan.images = hash_of("images");
    plan.labels = hash_of("labels");
    const auto spec = make_train_spec(plan);
    REQUIRE(spec.has_value());
    CHECK(marketplace::wire::parse_job_spec(*spec).has_value());
    CHECK(!make_serve_spec(*spec, hash_of("weights"), "digits").has_value());
}

TEST_CASE("job_spec: a served model has the trained one's shape") {
    const auto train = make_train_spec(text_plan());
    REQUIRE(train.has_value());
    const auto serve = make_serve_spec(*train, hash_of("weights"), "moby");
    REQUIRE(serve.has_value());
    const auto parsed = marketplace::wire::parse_job_spec(*serve);
    REQUIRE(parsed.has_value());
    CHECK(parsed->model_name == "moby");
    CHECK(parsed->context == 128);
    CHECK(*marketplace::wire::canonicalise(*serve) == *serve);
}

TEST_CASE("job_spec: parameters of a small gpt, counted by hand") {
    TrainPlan plan = text_plan();
    plan.vocab = 256;
    plan.width = 16;
    plan.depth = 1;
    plan.heads = 2;
    plan.context = 32;
    // Embeddings 288 x 16, one layer 12 x 256 + 13 x 16, last norm 32.
    CHECK(parameter_count(plan) == 288 * 16 + 12 * 256 + 13 * 16 + 32);
}

TEST_CASE("job_order: the worst case is the smaller of lock and ceiling, over all bids") {
    BidTerms bid;
    bid.price_ceiling_atoms = 1000;
    bid.volume_units = 300;
    bid.max_amount_atoms = 500'000;
    CHECK(worst_case_atoms({bid}) == 300'000);
    bid.max_amount_atoms = 200'000;
    CHECK(worst_case_atoms({bid, bid}) == 400'000);
}

TEST_CASE("job_order: a wrong address in a constraint is named") {
    OrderOptions options;
    options.providers = {"0x12"};
    const auto constraints = to_constraints(options, {});
    REQUIRE(!constraints.has_value());
    CHECK(constraints.error().detail().find("--provider") != std::string::npos);
}

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

TEST_CASE("job_spec: options that do not go together are refused") {
    const auto refuse = [](auto change) {
        TrainPlan plan = text_plan();
        change(plan);
        CHECK(refusal(plan) == ErrorCode::invalid_field);
    };
    refuse([](TrainPlan& p) { p.jsonl = hash_of("more"); });
    refuse([](TrainPlan& p) { p.vocab = 1000; });
    refuse([](TrainPlan& p) { p.arch = "resnet"; });
    refuse([](TrainPlan& p) { p.depth = 0; });
    refuse([](TrainPlan& p) { p.momentum = "much"; });
    refuse([](TrainPlan& p) { p.clip_norm = "-1"; });
    refuse([](TrainPlan& p) { p.min_delta = "0.1"; });
    refuse([](TrainPlan& p) { p.ranks = 3; });
    refuse([](TrainPlan& p) { p.ranks = 2, p.accumulate = 16; });
    TrainPlan images;
    images.arch = "vit";
    images.image_tar = hash_of("tar");
    images.patch = 5;
    CHECK(refusal(images) == ErrorCode::invalid_field);
    images.patch = 4;
    images.jsonl = hash_of("lines");
    CHECK(refusal(images) == ErrorCode::invalid_field);
    images.image_tar.reset();
    const auto lines = make_train_spec(images);
    REQUIRE_MESSAGE(lines.has_value(), lines.error().message());
    CHECK(lines->find(R"(","format":"jsonl"})") != std::string::npos);  // and no field
    CHECK(marketplace::wire::parse_job_spec(*lines).has_value());
    images.jsonl.reset();
    images.image_tar = hash_of("tar");
    images.patch = 0;
    CHECK(refusal(images) == ErrorCode::invalid_field);
    images.arch = "cnn";
    images.colors = 3;
    CHECK(refusal(images) == ErrorCode::invalid_field);
}

TEST_CASE("job_spec: every option stands in the canonical spec, and none that was not given") {
    const auto plain = make_train_spec(text_plan());
    REQUIRE(plain.has_value());
    for (const char* name : {"optimizer", "schedule", "min_rate_share", "clip_norm", "ranks",
                             "accumulate", "early_stop"})
        CHECK(plain->find(name) == std::string::npos);
    TrainPlan plan;
    plan.jsonl = hash_of("lines");
    plan.field = "body";
    plan.optimizer = "sgd";
    plan.momentum = "0.9";
    plan.nesterov = true;
    plan.schedule = "linear";
    plan.min_rate_share = "0";
    plan.clip_norm = "0.5";
    plan.ranks = 2;
    plan.accumulate = 4;
    plan.patience = 3;
    plan.min_delta = "0.01";
    const auto spec = make_train_spec(plan);
    REQUIRE_MESSAGE(spec.has_value(), spec.error().message());
    CHECK(*marketplace::wire::canonicalise(*spec) == *spec);
    for (const char* part :
         {R"("optimizer":{"momentum":"0.9","name":"sgd","nesterov":true})",
          R"("schedule":"linear")", R"("min_rate_share":"0")", R"("clip_norm":"0.5")",
          R"("ranks":2)", R"("accumulate":4)", R"("early_stop":{"min_delta":"0.01","patience":3})",
          R"("field":"body","format":"jsonl")"})
        CHECK_MESSAGE(spec->find(part) != std::string::npos, part);
    const auto parsed = marketplace::wire::parse_job_spec(*spec);
    REQUIRE(parsed.has_value());
    CHECK(parsed->terms.may_end_early);
    CHECK(parsed->blobs == std::vector<ledger::base::Hash32>{hash_of("lines")});
}

TEST_CASE("job_spec: models of images have the parameters and the work of their operations") {
    TrainPlan plan;
    plan.image_tar = hash_of("tar");
    plan.colors = 3;
    plan.image_height = plan.image_width = 32;
    plan.arch = "resnet";
    const std::uint64_t convolutions = 27 * 16 + 4 * 9 * 16 * 16 + 9 * 16 * 32 + 3 * 9 * 32 * 32 +
                                       16 * 32 + 9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64;
    CHECK(parameter_count(plan) == convolutions + 2 * (5 * 16 + 5 * 32 + 5 * 64) + 64 * 10 + 10);
    const std::uint64_t products = 1024 * (27 * 16 + 4 * 9 * 16 * 16) +
                                   256 * (9 * 16 * 32 + 3 * 9 * 32 * 32 + 16 * 32) +
                                   64 * (9 * 32 * 64 + 3 * 9 * 64 * 64 + 32 * 64) + 640;
    CHECK(flops_per_step(plan) == 3 * 16 * 2 * products + 16 * parameter_count(plan));
    plan.arch = "vit";
    plan.width = 64;
    plan.heads = 4;
    const std::uint64_t layer = 12 * 64 * 64 + 13 * 64;
    CHECK(parameter_count(plan) == 48 * 64 + 64 + 64 * 64 + 4 * layer + 128 + 640 + 10);
    const std::uint64_t token = 4 * (24 * 64 * 64 + 4 * 64 * 64) + 2 * 48 * 64;
    CHECK(flops_per_step(plan) == 3 * 16 * (64 * token + 2 * 640) + 16 * parameter_count(plan));
    plan.arch = "mlp";
    plan.depth = 2;
    CHECK(parameter_count(plan) == 3072 * 128 + 128 + 128 * 128 + 128 + 1280 + 10);
    for (const char* arch : {"resnet", "vit", "mlp"}) {
        plan.arch = arch;
        const auto spec = make_train_spec(plan);
        REQUIRE_MESSAGE(spec.has_value(), spec.error().message());
        CHECK(marketplace::wire::parse_job_spec(*spec).has_value());
    }
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

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/order_json.hpp"

#include "marketplace/wire/market_json.hpp"

#include <doctest/doctest.h>

using namespace marketplace;
using ledger::base::ErrorCode;

namespace {
domain::PostAsk example_ask() {
    domain::PostAsk ask;
    ask.resource.gpu_model = "cpu";
    ask.ask.resource_hash = wire::document_hash(wire::resource_document(ask.resource));
    ask.ask.price_atoms = 200;
    ask.ask.volume_units = UINT64_MAX;
    ask.signature.data()[64] = 27;
    return ask;
}
wire::PostJobBody example_job() {
    wire::PostJobBody job;
    job.spec = R"({"data":{"blob":"0x)" + std::string(64, '1') +
               R"(","format":"text"},"flops_per_step":5,"kind":"train",)"
               R"("model":{"arch":"gpt","context":8},"segment_steps":2,"steps":4,"version":1})";
    domain::BidLeg leg;
    leg.bid.job_spec_hash = wire::document_hash(job.spec);
    leg.bid.constraints_hash = wire::document_hash(wire::constraints_document(leg.constraints));
    job.command.legs.push_back(leg);
    job.command.terms = wire::parse_job_spec(job.spec)->terms;
    return job;
}
std::string with(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}
ErrorCode ask_code(const std::string& from, const std::string& to) {
    return wire::parse_post_ask(with(wire::post_ask_json(example_ask()), from, to)).error().code();
}
}  // namespace

TEST_CASE("order_json: wrong shapes are refused with a typed code") {
    CHECK(wire::parse_post_ask("").error().code() == ErrorCode::invalid_json);
    CHECK(wire::parse_post_ask("[]").error().code() == ErrorCode::invalid_request);
    CHECK(wire::parse_post_ask("{}").error().code() == ErrorCode::missing_field);
    CHECK(ask_code("\"price\":\"200\"", "\"price\":200") == ErrorCode::invalid_field);
    CHECK(ask_code("\"price\":\"200\"", "\"price\":\"-1\"") == ErrorCode::invalid_field);
    CHECK(ask_code("\"price\":\"200\"", "\"price\":\"18446744073709551616\"") ==
          ErrorCode::out_of_range);
    CHECK(ask_code("\"reclaimWindow\":0", "\"reclaimWindow\":4294967296") ==
          ErrorCode::out_of_range);
    CHECK(ask_code("\"training_step\"", "\"joule\"") == ErrorCode::invalid_field);
    CHECK(ask_code("{\"ask\"", "{\"extra\":1,\"ask\"") == ErrorCode::unknown_field);
    CHECK(ask_code("\\\"gpu_model\\\":\\\"cpu\\\"", "\\\"gpu_model\\\":\\\"h100\\\"") ==
          ErrorCode::invalid_field);
}

TEST_CASE("order_json: an ask round trips") {
    const auto ask = example_ask();
    CHECK(*wire::parse_post_ask(wire::post_ask_json(ask)) == ask);
}

TEST_CASE("order_json: the signed messages alone round trip") {
    const ledger::eth::Ask ask = example_ask().ask;
    CHECK(*wire::parse_ask(wire::ask_json(ask)) == ask);
    CHECK(wire::parse_ask("[]").error().code() == ErrorCode::invalid_request);
    CHECK(wire::parse_ask("{}").error().code() == ErrorCode::missing_field);
    const ledger::eth::Bid bid = example_job().command.legs[0].bid;
    CHECK(*wire::parse_bid(wire::bid_json(bid)) == bid);
    CHECK(wire::parse_bid(with(wire::bid_json(bid), "{", "{\"extra\":1,")).error().code() ==
          ErrorCode::unknown_field);
}

TEST_CASE(
    "order_json: a resource document that is known gives the same ask, and no other text does") {
    wire::ResourceCache resources;
    const std::string body = wire::post_ask_json(example_ask());
    for (int i = 0; i < 2; ++i) {
        CHECK(*wire::parse_post_ask(body, resources) == example_ask());
        CHECK(resources.size() == 1);
    }
    const std::string other = with(body, "\\\"gpu_count\\\":0", "\\\"gpu_count\\\":2");
    CHECK(wire::parse_post_ask(other, resources).error().code() == ErrorCode::invalid_field);
    // Refused documents are refused again.
    const std::string spaced = wire::resource_document(example_ask().resource) + " ";
    for (int i = 0; i < 2; ++i)
        CHECK(resources.parse(spaced).error().code() == ErrorCode::invalid_encoding);
    CHECK(resources.size() == 1);
}

TEST_CASE("order_json: the documents kept are bounded, in number and in length") {
    wire::ResourceCache resources;
    domain::Resource resource = example_ask().resource;
    for (std::uint64_t i = 0; i < wire::ResourceCache::kDocumentsMax; ++i) {
        resource.ram_mib = i;
        REQUIRE(resources.parse(wire::resource_document(resource)));
    }
    CHECK(resources.size() == wire::ResourceCache::kDocumentsMax);
    resource.ram_mib = wire::ResourceCache::kDocumentsMax;
    CHECK(*resources.parse(wire::resource_document(resource)) == resource);
    CHECK(resources.size() == 1);
    resource.gpu_model.assign(wire::ResourceCache::kBytesMax, 'x');
    CHECK(*resources.parse(wire::resource_document(resource)) == resource);
    CHECK(resources.size() == 1);
}

TEST_CASE("order_json: a job must be the one its bids sign") {
    const std::string body = wire::post_job_json(example_job());
    CHECK(wire::parse_post_job(with(body, "\\\"steps\\\":4", "\\\"steps\\\":5")).error().code() ==
          ErrorCode::invalid_field);
    CHECK(wire::parse_post_job(with(body, "\\\"min_gpu_count\\\":0", "\\\"min_gpu_count\\\":9"))
              .error()
              .code() == ErrorCode::invalid_field);
    CHECK(wire::parse_post_job(with(body, "job_0", "jab_0")).error().code() ==
          ErrorCode::invalid_field);
}

TEST_CASE("order_json: GPU time is refused where the work is metered by the step") {
    auto job = example_job();
    job.command.legs.front().bid.unit_kind = ledger::eth::UnitKind::kGpuMs;
    CHECK(wire::parse_post_job(wire::post_job_json(job)).error().code() == ErrorCode::unsupported);
}

TEST_CASE("order_json: a job with a delegation round trips") {
    auto job = example_job();
    job.command.delegation.emplace();
    job.command.delegation->spend_cap_atoms = 7;
    job.command.delegation_signature.data()[64] = 28;
    const auto parsed = wire::parse_post_job(wire::post_job_json(job));
    REQUIRE(parsed);
    CHECK(parsed->command == job.command);
    CHECK(parsed->spec == job.spec);
}

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/document.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>

using namespace marketplace;
using ledger::base::ErrorCode;

namespace {
const std::string kHash(64, 'a');
const std::string kTrain =
    R"({"batch":16,"data":{"blob":"0x)" + kHash +
    R"(","format":"text"},"flops_per_step":1000,"kind":"train","model":{"arch":"gpt","context":128},)"
    R"("segment_steps":25,"steps":300,"version":1})";
std::string with(std::string text, const std::string& from, const std::string& to) {
    const auto at = text.find(from);
    REQUIRE(at != std::string::npos);
    return text.replace(at, from.size(), to);
}
}  // namespace

TEST_CASE("document: only canonical bytes are taken") {
    CHECK(wire::parse_job_spec("").error().code() == ErrorCode::invalid_json);
    CHECK(wire::parse_job_spec("{\"a\":1,\"a\":2}").error().code() == ErrorCode::invalid_json);
    CHECK(wire::parse_job_spec(" " + kTrain).error().code() == ErrorCode::invalid_encoding);
    CHECK(wire::parse_job_spec(with(kTrain, "\"batch\":16,", "\"batch\":16.5,")).error().code() ==
          ErrorCode::unsupported);
    CHECK(wire::parse_job_spec(with(kTrain, "\"batch\":16,", "\"batch\":null,")).error().code() ==
          ErrorCode::unsupported);
    CHECK(wire::parse_job_spec(std::string(70'000, ' ')).error().code() == ErrorCode::too_large);
    CHECK(*wire::canonicalise("{ \"b\": 1, \"a\": [true, \"x\"] }") == R"({"a":[true,"x"],"b":1})");
}

TEST_CASE("document: a job spec out of limits names the field") {
    const auto code = [](const std::string& from, const std::string& to) {
        return wire::parse_job_spec(with(kTrain, from, to)).error().code();
    };
    CHECK(code("\"steps\":300", "\"steps\":0") == ErrorCode::job_limit);
    CHECK(code("\"steps\":300", "\"steps\":10000001") == ErrorCode::job_limit);
    CHECK(code("\"segment_steps\":25", "\"segment_steps\":301") == ErrorCode::job_limit);
    CHECK(code("\"flops_per_step\":1000", "\"flops_per_step\":0") == ErrorCode::job_limit);
    CHECK(code("\"arch\":\"gpt\"", "\"arch\":\"rnn\"") == ErrorCode::job_spec_invalid);
    CHECK(code("\"format\":\"text\"", "\"format\":\"csv\"") == ErrorCode::job_spec_invalid);
    CHECK(code("\"kind\":\"train\"", "\"kind\":\"mine\"") == ErrorCode::job_spec_invalid);
    CHECK(code("0x" + kHash, "0x12") == ErrorCode::job_spec_invalid);
    CHECK(code("\"version\":1", "\"version\":2") == ErrorCode::job_limit);
}

TEST_CASE("document: a train spec gives its terms and blobs") {
    const auto spec = wire::parse_job_spec(kTrain);
    REQUIRE(spec);
    CHECK(spec->terms.total_units == 300);
    CHECK(spec->terms.segment_units == 25);
    CHECK(spec->terms.flops_per_step == 1000);
    REQUIRE(spec->blobs.size() == 1);
    CHECK(ledger::base::to_hex(spec->blobs[0]) == "0x" + kHash);
}

TEST_CASE("document: resource and constraints round trip") {
    domain::Resource resource;
    resource.gpu_model = "cpu";
    resource.gpu_count = 1;
    resource.region = "local";
    resource.max_flops_per_step = 1'000'000'000'000;
    const std::string text = wire::resource_document(resource);
    CHECK(*wire::canonicalise(text) == text);
    CHECK(*wire::parse_resource(text) == resource);
    CHECK(wire::parse_resource(with(text, "\"region\"", "\"regiom\"")).error().code() ==
          ErrorCode::missing_field);

    domain::Constraints constraints;
    constraints.gpu_models = {"cpu", "h100"};
    constraints.providers = {ledger::base::Address()};
    CHECK(*wire::parse_constraints(wire::constraints_document(constraints)) == constraints);
}

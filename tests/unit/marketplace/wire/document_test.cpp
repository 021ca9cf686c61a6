// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/document.hpp"

#include "ledger/base/hex.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>
#include <vector>

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

const std::string kZeros(39, '0');  // of an address that ends in one digit

domain::Resource full_resource() {
    domain::Resource out;
    out.gpu_model = "h100";
    out.gpu_count = 2;
    out.vram_mib = 3;
    out.ram_mib = 4;
    out.cpu_cores = 5;
    out.region = "eu";
    out.runtime = "t2";
    out.max_flops_per_step = 6;
    out.worker.data()[19] = 7;
    out.disk_mib = 8;
    out.bandwidth_mbps = 9;
    out.interconnect = "pcie";
    out.numeric_classes = 10;
    out.verification_tier = 11;
    out.max_gang = 12;
    out.buyers.resize(1);
    out.buyers[0].data()[19] = 1;
    out.exclude_buyers.resize(1);
    out.exclude_buyers[0].data()[19] = 2;
    out.gflop_per_s = 13;
    out.memory_mb_per_s = 14;
    return out;
}
const std::string kFullResource =
    R"({"bandwidth_mbps":9,"buyers":["0x)" + kZeros + R"(1"],"cpu_cores":5,"disk_mib":8,)" +
    R"("exclude_buyers":["0x)" + kZeros + R"(2"],"gflop_per_s":13,"gpu_count":2,)" +
    R"("gpu_model":"h100","interconnect":"pcie","max_flops_per_step":6,"max_gang":12,)" +
    R"("memory_mb_per_s":14,"numeric_classes":10,)" +
    R"("ram_mib":4,"region":"eu","runtime":"t2","verification_tier":11,"vram_mib":3,)" +
    R"("worker":"0x)" + kZeros + R"(7"})";

domain::Constraints full_constraints() {
    domain::Constraints out;
    out.gpu_models = {"h100"};
    out.min_gpu_count = 2;
    out.min_vram_mib = 3;
    out.regions = {"eu"};
    out.runtimes = {"t2"};
    out.providers.resize(1);
    out.providers[0].data()[19] = 4;
    out.exclude_providers.resize(1);
    out.exclude_providers[0].data()[19] = 5;
    out.min_ram_mib = 6;
    out.min_disk_mib = 7;
    out.min_cpu_cores = 8;
    out.min_bandwidth_mbps = 9;
    out.min_reliability_bp = 10;
    out.min_reclaim_window_s = 11;
    out.interconnects = {"pcie"};
    out.numeric_class = domain::NumericClass::kD3;
    out.gang = 12;
    out.min_slice_units = 13;
    out.max_duration_s = 14;
    out.clearing = domain::Clearing::kBatch;
    out.ramp_from_atoms = 15;
    out.ramp_start_s = 16;
    out.ramp_end_s = 17;
    out.min_gflop_per_s = 18;
    out.min_memory_mb_per_s = 19;
    return out;
}
const std::string kFullConstraints =
    R"({"clearing":"batch","exclude_providers":["0x)" + kZeros + R"(5"],"gang":12,)" +
    R"("gpu_models":["h100"],"interconnects":["pcie"],"max_duration_s":14,)" +
    R"("min_bandwidth_mbps":9,"min_cpu_cores":8,"min_disk_mib":7,"min_gflop_per_s":18,)" +
    R"("min_gpu_count":2,"min_memory_mb_per_s":19,"min_ram_mib":6,)" +
    R"("min_reclaim_window_s":11,"min_reliability_bp":10,"min_slice_units":13,)" +
    R"("min_vram_mib":3,"numeric_class":"d3","providers":["0x)" + kZeros + R"(4"],)" +
    R"("ramp_end_s":17,"ramp_from_atoms":15,"ramp_start_s":16,"regions":["eu"],)" +
    R"("runtimes":["t2"]})";

/// A field that may be left out: what it says in the full document, and its usual value.
struct OptionalField {
    std::string said;
    std::string usual;
};
const std::vector<OptionalField> kResourceFields = {
    {R"("bandwidth_mbps":9,)", R"("bandwidth_mbps":0,)"},
    {R"("buyers":["0x)" + kZeros + R"(1"],)", R"("buyers":[],)"},
    {R"("disk_mib":8,)", R"("disk_mib":0,)"},
    {R"("exclude_buyers":["0x)" + kZeros + R"(2"],)", R"("exclude_buyers":[],)"},
    {R"("gflop_per_s":13,)", R"("gflop_per_s":0,)"},
    {R"("interconnect":"pcie",)", R"("interconnect":"",)"},
    {R"("max_gang":12,)", R"("max_gang":1,)"},
    {R"("memory_mb_per_s":14,)", R"("memory_mb_per_s":0,)"},
    {R"("numeric_classes":10,)", R"("numeric_classes":0,)"},
    {R"("verification_tier":11,)", R"("verification_tier":0,)"},
};
const std::vector<OptionalField> kConstraintFields = {
    {R"("clearing":"batch",)", R"("clearing":"limit",)"},
    {R"("gang":12,)", R"("gang":1,)"},
    {R"("interconnects":["pcie"],)", R"("interconnects":[],)"},
    {R"("max_duration_s":14,)", R"("max_duration_s":0,)"},
    {R"("min_bandwidth_mbps":9,)", R"("min_bandwidth_mbps":0,)"},
    {R"("min_cpu_cores":8,)", R"("min_cpu_cores":0,)"},
    {R"("min_disk_mib":7,)", R"("min_disk_mib":0,)"},
    {R"("min_gflop_per_s":18,)", R"("min_gflop_per_s":0,)"},
    {R"("min_memory_mb_per_s":19,)", R"("min_memory_mb_per_s":0,)"},
    {R"("min_ram_mib":6,)", R"("min_ram_mib":0,)"},
    {R"("min_reclaim_window_s":11,)", R"("min_reclaim_window_s":0,)"},
    {R"("min_reliability_bp":10,)", R"("min_reliability_bp":0,)"},
    {R"("min_slice_units":13,)", R"("min_slice_units":0,)"},
    {R"("numeric_class":"d3",)", R"("numeric_class":"any",)"},
    {R"("ramp_end_s":17,)", R"("ramp_end_s":0,)"},
    {R"("ramp_from_atoms":15,)", R"("ramp_from_atoms":0,)"},
    {R"("ramp_start_s":16,)", R"("ramp_start_s":0,)"},
};

/// Each field may be left out, and then it is not written either; its usual value is refused, and
/// so are another type and a number past its bits.
template <typename Parse, typename Write>
void check_optional_fields(const std::string& full, const std::vector<OptionalField>& fields,
                           Parse parse, Write write) {
    for (const OptionalField& field : fields) {
        const std::string& said = field.said;
        const std::string& usual = field.usual;
        CAPTURE(said);
        CHECK(parse(with(full, said, usual)).error().code() == ErrorCode::invalid_field);
        const std::string name = said.substr(0, said.find(':') + 1);
        CHECK(parse(with(full, said, name + "true,")).error().code() == ErrorCode::invalid_field);
        CHECK_FALSE(parse(with(full, said, name + "18446744073709551616,")));
        const auto left_out = parse(with(full, said, ""));
        REQUIRE(left_out);
        CHECK(*left_out != *parse(full));
        CHECK(write(*left_out) == with(full, said, ""));
    }
}
}  // namespace

TEST_CASE("document: texts that need escapes are written as the JSON library writes them") {
    domain::Resource resource;
    for (const std::string text : {"a\"b\\c", "tab\there", "\x01", "\x7f", "GPU \u00e9", ""}) {
        resource.gpu_model = text;
        resource.interconnect = text;
        const std::string document = wire::resource_document(resource);
        CHECK(*wire::canonicalise(document) == document);
        CHECK(*wire::parse_resource(document) == resource);
    }
    // Not UTF-8: replaced, never thrown.
    resource.gpu_model = "\xff";
    CHECK(wire::resource_document(resource).find("\xef\xbf\xbd") != std::string::npos);
}

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

TEST_CASE(
    "document: a train spec with an early stop may end early, and other formats name a blob") {
    CHECK_FALSE(wire::parse_job_spec(kTrain)->terms.may_end_early);
    const auto early = wire::parse_job_spec(
        with(kTrain, "\"flops_per_step\"", "\"early_stop\":{\"patience\":2},\"flops_per_step\""));
    REQUIRE_MESSAGE(early, early.error().message());
    CHECK(early->terms.may_end_early);
    for (const char* format : {"jsonl", "tokens", "tar"}) {
        const auto spec = wire::parse_job_spec(
            with(kTrain, "\"format\":\"text\"", fmt::format("\"format\":\"{}\"", format)));
        REQUIRE_MESSAGE(spec, format);
        CHECK(spec->blobs.size() == 1);
    }
    for (const char* arch : {"resnet", "vit", "mlp"})
        CHECK(wire::parse_job_spec(
            with(kTrain, "\"arch\":\"gpt\"", fmt::format("\"arch\":\"{}\"", arch))));
}

TEST_CASE("document: a folder's serve spec names its blobs, or is refused") {
    const auto spec_of = [](const std::string& rest) {
        return wire::canonicalise(R"({"version":1,"kind":"infer.serve","name":"tiny",)" + rest +
                                  "}")
            .value();
    };
    const std::string one = R"("files":{"config.json":"0x)" + std::string(64, '1') + "\"}";
    for (const std::string& bad :
         {std::string(R"("files":{})"), std::string(R"("files":[])"),
          std::string(R"("files":{"config.json":"0x1"})"),
          R"("files":{")" + std::string(129, 'a') + R"(":"0x)" + std::string(64, '1') + "\"}",
          one + R"(,"model":{"arch":"gpt"})",
          one + R"(,"weights":"0x)" + std::string(64, '1') + "\""}) {
        const auto refused = wire::parse_job_spec(spec_of(bad));
        REQUIRE_FALSE_MESSAGE(refused, bad);
        CHECK(refused.error().code() == ErrorCode::job_spec_invalid);
    }
    const auto spec = wire::parse_job_spec(spec_of(one));
    REQUIRE(spec);
    CHECK(spec->folder);
    CHECK(spec->model_name == "tiny");
    CHECK(spec->blobs.size() == 1);
    CHECK(spec->context == 0);
}

TEST_CASE("document: a fine-tuning sells steps and names every blob, or is refused") {
    const auto hash = [](char digit) { return "\"0x" + std::string(64, digit) + "\""; };
    const std::string files = R"("files":{"config.json":)" + hash('1') + "}";
    const std::string data = R"("data":{"blob":)" + hash('2') + "}";
    const std::string validation = R"("validation":{"blob":)" + hash('3') + "}";
    const std::string steps = R"("steps":30,"segment_steps":10,"flops_per_step":9000)";
    const auto parse = [](const std::string& rest) {
        return wire::parse_job_spec(
            wire::canonicalise(R"({"version":1,"kind":"finetune",)" + rest + "}").value());
    };
    for (const std::string& bad :
         {files + "," + data, files + "," + steps, data + "," + steps,
          R"("files":{},)" + data + "," + steps, files + R"(,"data":7,)" + steps,
          files + R"(,"data":{},)" + steps, files + "," + data + R"(,"validation":{},)" + steps}) {
        const auto refused = parse(bad);
        REQUIRE_FALSE_MESSAGE(refused, bad);
        CHECK(refused.error().code() == ErrorCode::job_spec_invalid);
    }
    const auto spec = parse(files + "," + data + "," + validation + "," + steps);
    REQUIRE(spec);
    CHECK(spec->kind == domain::JobKind::kTrain);
    CHECK(spec->terms.total_units == 30);
    CHECK(spec->terms.segment_units == 10);
    CHECK(spec->terms.flops_per_step == 9000);
    CHECK(spec->blobs.size() == 3);
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

TEST_CASE("document: an optional field is refused with its usual value, absent it has that value") {
    check_optional_fields(kFullResource, kResourceFields, wire::parse_resource,
                          wire::resource_document);
    check_optional_fields(kFullConstraints, kConstraintFields, wire::parse_constraints,
                          wire::constraints_document);
}

TEST_CASE("document: unknown fields, unknown names and numbers past their bits are refused") {
    const auto resource = [](const std::string& from, const std::string& to) {
        return wire::parse_resource(with(kFullResource, from, to)).error().code();
    };
    CHECK(resource("\"worker\"", "\"vrom_mib\":1,\"worker\"") == ErrorCode::unknown_field);
    CHECK(resource("\"max_gang\":12", "\"max_gang\":65536") == ErrorCode::out_of_range);
    CHECK(resource("\"numeric_classes\":10", "\"numeric_classes\":256") == ErrorCode::out_of_range);
    CHECK(resource("\"verification_tier\":11", "\"verification_tier\":256") ==
          ErrorCode::out_of_range);
    CHECK(resource("\"bandwidth_mbps\":9", "\"bandwidth_mbps\":4294967296") ==
          ErrorCode::out_of_range);
    CHECK(resource("\"buyers\":[\"0x", "\"buyers\":[\"1x") == ErrorCode::invalid_field);

    const auto constraints = [](const std::string& from, const std::string& to) {
        return wire::parse_constraints(with(kFullConstraints, from, to)).error().code();
    };
    CHECK(constraints("\"gang\"", "\"gamg\":1,\"gang\"") == ErrorCode::unknown_field);
    CHECK(constraints("\"batch\"", "\"bath\"") == ErrorCode::invalid_field);
    CHECK(constraints("\"d3\"", "\"d4\"") == ErrorCode::invalid_field);
    CHECK(constraints("\"d3\"", "\"D3\"") == ErrorCode::invalid_field);
    CHECK(constraints("\"gang\":12", "\"gang\":65536") == ErrorCode::out_of_range);
    CHECK(constraints("\"gang\":12", "\"gang\":-1") == ErrorCode::invalid_field);
    CHECK(constraints("\"min_cpu_cores\":8", "\"min_cpu_cores\":4294967296") ==
          ErrorCode::out_of_range);
    CHECK(constraints("[\"pcie\"]", "[7]") == ErrorCode::invalid_field);
}

TEST_CASE("document: golden documents with every field set") {
    CHECK(wire::resource_document(full_resource()) == kFullResource);
    CHECK(*wire::parse_resource(kFullResource) == full_resource());
    CHECK(wire::constraints_document(full_constraints()) == kFullConstraints);
    CHECK(*wire::parse_constraints(kFullConstraints) == full_constraints());
}

TEST_CASE("document: an order that demands nothing new has the document it always had") {
    CHECK(wire::constraints_document({}) ==
          R"({"exclude_providers":[],"gpu_models":[],"min_gpu_count":0,"min_vram_mib":0,)"
          R"("providers":[],"regions":[],"runtimes":[]})");
    CHECK(*wire::parse_constraints(wire::constraints_document({})) == domain::Constraints{});
}

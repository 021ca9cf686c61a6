// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/document.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/fields.hpp"

namespace marketplace::wire {
namespace {

namespace limits = ledger::base::limits;

constexpr auto resource_fields = [](auto& v, auto& r) {
    v.integer("cpu_cores", r.cpu_cores);
    v.integer("gpu_count", r.gpu_count);
    v.text("gpu_model", r.gpu_model);
    v.integer("max_flops_per_step", r.max_flops_per_step);
    v.integer("ram_mib", r.ram_mib);
    v.text("region", r.region);
    v.text("runtime", r.runtime);
    v.integer("vram_mib", r.vram_mib);
    v.hex("worker", r.worker);
    using Value = domain::Resource;
    v.optional("bandwidth_mbps", r.bandwidth_mbps, Value{}.bandwidth_mbps);
    v.optional("buyers", r.buyers, {});
    v.optional("disk_mib", r.disk_mib, Value{}.disk_mib);
    v.optional("exclude_buyers", r.exclude_buyers, {});
    v.optional("gflop_per_s", r.gflop_per_s, Value{}.gflop_per_s);
    v.optional("interconnect", r.interconnect, {});
    v.optional("max_gang", r.max_gang, Value{}.max_gang);
    v.optional("memory_mb_per_s", r.memory_mb_per_s, Value{}.memory_mb_per_s);
    v.optional("numeric_classes", r.numeric_classes, Value{}.numeric_classes);
    v.optional("verification_tier", r.verification_tier, Value{}.verification_tier);
};

constexpr auto constraint_fields = [](auto& v, auto& c) {
    v.addresses("exclude_providers", c.exclude_providers);
    v.texts("gpu_models", c.gpu_models);
    v.integer("min_gpu_count", c.min_gpu_count);
    v.integer("min_vram_mib", c.min_vram_mib);
    v.addresses("providers", c.providers);
    v.texts("regions", c.regions);
    v.texts("runtimes", c.runtimes);
    using Value = domain::Constraints;
    v.optional_name("clearing", c.clearing, domain::kClearingCount);
    v.optional("gang", c.gang, Value{}.gang);
    v.optional("interconnects", c.interconnects, {});
    v.optional("max_duration_s", c.max_duration_s, Value{}.max_duration_s);
    v.optional("min_bandwidth_mbps", c.min_bandwidth_mbps, Value{}.min_bandwidth_mbps);
    v.optional("min_cpu_cores", c.min_cpu_cores, Value{}.min_cpu_cores);
    v.optional("min_disk_mib", c.min_disk_mib, Value{}.min_disk_mib);
    v.optional("min_gflop_per_s", c.min_gflop_per_s, Value{}.min_gflop_per_s);
    v.optional("min_memory_mb_per_s", c.min_memory_mb_per_s, Value{}.min_memory_mb_per_s);
    v.optional("min_ram_mib", c.min_ram_mib, Value{}.min_ram_mib);
    v.optional("min_reclaim_window_s", c.min_reclaim_window_s, Value{}.min_reclaim_window_s);
    v.optional("min_reliability_bp", c.min_reliability_bp, Value{}.min_reliability_bp);
    v.optional("min_slice_units", c.min_slice_units, Value{}.min_slice_units);
    v.optional_name("numeric_class", c.numeric_class, domain::kNumericClassCount);
    v.optional("ramp_end_s", c.ramp_end_s, Value{}.ramp_end_s);
    v.optional("ramp_from_atoms", c.ramp_from_atoms, Value{}.ramp_from_atoms);
    v.optional("ramp_start_s", c.ramp_start_s, Value{}.ramp_start_s);
};

Result<void> check_values(const json& value) {
    // parse_json bounds the depth, so this recursion is bounded too.
    if (value.is_null() || value.is_number_float())
        return fail(ErrorCode::unsupported,
                    "documents have no null and no fractions: write decimals as strings");
    if (value.is_structured())
        for (const json& item : value)
            TRY(check_values(item));
    return {};
}

Result<json> parse_document(std::string_view text) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = limits::kJobSpecBytes;
    return ledger::rpc::parse_json(text, bounds);
}

Result<void> check_canonical(const json& document, std::string_view text) {
    TRY(check_values(document));
    if (ledger::rpc::to_text(document) != text)
        return fail(ErrorCode::invalid_encoding,
                    "the document is not canonical: sort the keys and remove the spaces");
    return {};
}

/// A document of known fields, canonical form only.
template <typename Value, typename List>
Result<Value> read_document(std::string_view text, List list) {
    TRY_ASSIGN(const json document, parse_document(text));
    Result<Value> value = read_fields<Value>(document, list);
    // The text that our writer makes of the value is canonical: usually the question ends here.
    if (value && write_fields(*value, list) == text) return value;
    TRY(check_canonical(document, text));
    return value;
}

tl::unexpected<Error> invalid(const std::string& field, const std::string& problem) {
    return fail(ErrorCode::job_spec_invalid, field + " " + problem);
}

/// A member of an object, or null when it is absent.
const json* member(const json& object, const char* name) {
    const auto found = object.find(name);
    return found == object.end() ? nullptr : &*found;
}

Result<std::uint64_t> integer(const json& object, const char* name, std::uint64_t least,
                              std::uint64_t most) {
    const json* value = member(object, name);
    if (value == nullptr || !value->is_number_unsigned())
        return invalid(name, "must be an integer");
    const auto number = value->get<std::uint64_t>();
    if (number < least || number > most)
        return fail(ErrorCode::job_limit, std::string(name) + " must be from " +
                                              std::to_string(least) + " to " +
                                              std::to_string(most));
    return number;
}

Result<std::string> text(const json& object, const char* name) {
    const json* value = member(object, name);
    if (value == nullptr || !value->is_string()) return invalid(name, "must be a string");
    return value->get<std::string>();
}

Result<domain::Hash32> blob(const json& object, const char* name) {
    TRY_ASSIGN(const std::string value, text(object, name));
    auto hash = ledger::base::parse_fixed<domain::Hash32>(value);
    if (!hash) return invalid(name, "must name a blob: 0x and 64 hex digits");
    return *hash;
}

Result<void> read_model(const json& document, JobSpec& out) {
    const json* model = member(document, "model");
    if (model == nullptr || !model->is_object()) return invalid("model", "must be an object");
    TRY_ASSIGN(out.arch, text(*model, "arch"));
    if (out.arch == "gpt") {
        TRY_ASSIGN(out.context, integer(*model, "context", 1, 1U << 20U));
    } else if (out.arch != "cnn" && out.arch != "resnet" && out.arch != "vit" &&
               out.arch != "mlp") {
        return fail(ErrorCode::job_spec_invalid,
                    "arch must be \"gpt\", \"cnn\", \"resnet\", \"vit\" or \"mlp\"");
    }
    return {};
}

/// What training of any kind sells: steps, in segments, of a size.
Result<void> read_steps(const json& document, JobSpec& out) {
    out.kind = domain::JobKind::kTrain;
    out.terms.kind = out.kind;
    TRY_ASSIGN(out.terms.total_units, integer(document, "steps", 1, limits::kMaxTrainingSteps));
    TRY_ASSIGN(out.terms.segment_units,
               integer(document, "segment_steps", 1, out.terms.total_units));
    TRY_ASSIGN(out.terms.flops_per_step, integer(document, "flops_per_step", 1, UINT64_MAX / 2));
    out.terms.may_end_early = member(document, "early_stop") != nullptr;
    return {};
}

Result<void> read_train(const json& document, JobSpec& out) {
    TRY(read_steps(document, out));
    const json* data = member(document, "data");
    if (data == nullptr || !data->is_object()) return invalid("data", "must be an object");
    TRY_ASSIGN(const std::string format, text(*data, "format"));
    if (format == "text" || format == "jsonl" || format == "tokens" || format == "tar") {
        TRY_ASSIGN(const domain::Hash32 hash, blob(*data, "blob"));
        out.blobs.push_back(hash);
    } else if (format == "idx") {
        TRY_ASSIGN(const domain::Hash32 images, blob(*data, "images"));
        TRY_ASSIGN(const domain::Hash32 labels, blob(*data, "labels"));
        out.blobs = {images, labels};
    } else {
        return fail(ErrorCode::job_spec_invalid,
                    "data.format must be \"text\", \"jsonl\", \"tokens\", \"idx\" or \"tar\"");
    }
    if (member(document, "init") != nullptr) {
        TRY_ASSIGN(const domain::Hash32 init, blob(document, "init"));
        out.blobs.push_back(init);
    }
    return {};
}

/// The files of a folder; which of them a model needs is the worker's business.
Result<void> read_files(const json& files, JobSpec& out) {
    constexpr std::size_t kFilesMax = 256;
    constexpr std::size_t kNameMax = 128;
    if (!files.is_object() || files.empty() || files.size() > kFilesMax)
        return invalid("files", "must be an object of 1 to 256 files");
    for (const auto& [name, value] : files.items()) {
        if (name.size() > kNameMax) return invalid("files", "has a name of more than 128 bytes");
        TRY_ASSIGN(const domain::Hash32 hash, blob(files, name.c_str()));
        out.blobs.push_back(hash);
    }
    return {};
}

/// A published folder that is trained on: for the market it is training, by steps.
Result<void> read_finetune(const json& document, JobSpec& out) {
    TRY(read_steps(document, out));
    out.folder = true;
    const json* files = member(document, "files");
    if (files == nullptr) return invalid("files", "must be an object of 1 to 256 files");
    TRY(read_files(*files, out));
    const json* data = member(document, "data");
    if (data == nullptr || !data->is_object()) return invalid("data", "must be an object");
    TRY_ASSIGN(const domain::Hash32 examples, blob(*data, "blob"));
    out.blobs.push_back(examples);
    if (const json* validation = member(document, "validation")) {
        if (!validation->is_object()) return invalid("validation", "must be an object");
        TRY_ASSIGN(const domain::Hash32 held_out, blob(*validation, "blob"));
        out.blobs.push_back(held_out);
    }
    return {};
}

Result<void> read_serve(const json& document, JobSpec& out) {
    out.kind = domain::JobKind::kServe;
    out.terms.kind = out.kind;
    TRY_ASSIGN(out.model_name, text(document, "name"));
    const bool named = !out.model_name.empty() && out.model_name.size() <= 64 &&
                       out.model_name.find_first_not_of(
                           "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
                           std::string::npos;
    if (!named) return invalid("name", "has 1 to 64 letters, digits, '-', '_' or '.'");
    if (const json* files = member(document, "files")) {
        if (member(document, "model") != nullptr || member(document, "weights") != nullptr)
            return invalid("files", "stand instead of model and weights");
        out.folder = true;
        return read_files(*files, out);
    }
    TRY(read_model(document, out));
    if (out.arch != "gpt") return invalid("model.arch", "cannot be served");
    TRY_ASSIGN(const domain::Hash32 weights, blob(document, "weights"));
    out.blobs.push_back(weights);
    return {};
}

}  // namespace

domain::Hash32 document_hash(std::string_view canonical) {
    return ledger::base::sha256(ledger::base::as_bytes(canonical));
}

Result<std::string> canonicalise(std::string_view text) {
    TRY_ASSIGN(const json document, parse_document(text));
    TRY(check_values(document));
    return ledger::rpc::to_text(document);
}

std::string resource_document(const domain::Resource& resource) {
    return write_fields(resource, resource_fields);
}

Result<domain::Resource> parse_resource(std::string_view canonical) {
    return read_document<domain::Resource>(canonical, resource_fields);
}

std::string constraints_document(const domain::Constraints& constraints) {
    return write_fields(constraints, constraint_fields);
}

Result<domain::Constraints> parse_constraints(std::string_view canonical) {
    return read_document<domain::Constraints>(canonical, constraint_fields);
}

Result<JobSpec> parse_job_spec(std::string_view canonical) {
    TRY_ASSIGN(const json document, parse_document(canonical));
    TRY(check_canonical(document, canonical));
    if (!document.is_object()) return invalid("/", "must be an object");
    TRY(integer(document, "version", 1, 1));
    TRY_ASSIGN(const std::string kind, text(document, "kind"));
    JobSpec out;
    if (kind == "train") {
        TRY(read_model(document, out));
        TRY(read_train(document, out));
    } else if (kind == "infer.serve") {
        TRY(read_serve(document, out));
    } else if (kind == "finetune") {
        TRY(read_finetune(document, out));
    } else {
        return fail(ErrorCode::job_spec_invalid,
                    "kind must be \"train\", \"finetune\" or \"infer.serve\"");
    }
    return out;
}

}  // namespace marketplace::wire

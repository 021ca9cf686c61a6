// SPDX-License-Identifier: Apache-2.0
#include "worker/model/model_spec.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/model/folder_files.hpp"
#include "worker/model/json_reader.hpp"
#include "worker/model/layout.hpp"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <utility>

namespace worker::model {

namespace limits = ledger::base::limits;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;

namespace {

constexpr std::uint64_t kParametersMax = 2'000'000'000;
constexpr std::uint64_t kSamplesPerStepMax = 1U << 20U;
constexpr std::uint64_t kVocabMax = 262'144;

std::uint32_t narrow(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

std::uint64_t patches_of(const VitShape& vit) {
    return std::uint64_t{vit.image.height / vit.patch} * (vit.image.width / vit.patch);
}

Result<ModelSpec> read_gpt(const FieldReader& in) {
    TRY(in.only({"arch", "vocab", "width", "depth", "heads", "context"}));
    GptShape gpt;
    TRY_ASSIGN(const auto vocab, in.integer("vocab", 2, kVocabMax));
    TRY_ASSIGN(const auto width, in.integer("width", 8, 8192));
    TRY_ASSIGN(const auto depth, in.integer("depth", 1, 96));
    TRY_ASSIGN(const auto heads, in.integer("heads", 1, 128));
    TRY_ASSIGN(const auto context, in.integer("context", 4, 8192));
    gpt = {narrow(vocab), narrow(width), narrow(depth), narrow(heads), narrow(context)};
    if (gpt.width % gpt.heads != 0) return in.refuse("width", "must be a multiple of heads");
    return ModelSpec(gpt);
}

Result<ModelSpec> read_cnn(const FieldReader& in) {
    TRY(in.only({"arch", "classes", "channels", "height", "width"}));
    TRY_ASSIGN(const auto classes, in.integer("classes", 2, 256));
    TRY_ASSIGN(const auto channels, in.integer("channels", 1, 512));
    TRY_ASSIGN(const auto height, in.integer("height", 8, 512));
    TRY_ASSIGN(const auto width, in.integer("width", 8, 512));
    return ModelSpec(CnnShape{narrow(classes), narrow(channels), narrow(height), narrow(width)});
}

Result<ImageShape> read_image(const FieldReader& in) {
    TRY_ASSIGN(const auto classes, in.integer("classes", 2, 65536));
    TRY_ASSIGN(const auto colors, in.integer("colors", 1, 3));
    TRY_ASSIGN(const auto height, in.integer("height", 4, 1024));
    TRY_ASSIGN(const auto width, in.integer("width", 4, 1024));
    if (colors == 2) return in.refuse("colors", "must be 1 or 3");
    return ImageShape{narrow(classes), narrow(colors), narrow(height), narrow(width)};
}

Result<ModelSpec> read_resnet(const FieldReader& in) {
    TRY(in.only({"arch", "classes", "colors", "height", "width", "channels", "stages", "blocks"}));
    ResnetShape out;
    TRY_ASSIGN(out.image, read_image(in));
    TRY_ASSIGN(const auto channels, in.integer("channels", 8, 512));
    TRY_ASSIGN(const auto stages, in.integer("stages", 1, 5));
    TRY_ASSIGN(const auto blocks, in.integer("blocks", 1, 16));
    if (channels % 8 != 0) return in.refuse("channels", "must be a multiple of 8");
    out.channels = narrow(channels);
    out.stages = narrow(stages);
    out.blocks = narrow(blocks);
    return ModelSpec(out);
}

Result<ModelSpec> read_vit(const FieldReader& in) {
    TRY(in.only(
        {"arch", "classes", "colors", "height", "width", "patch", "dim", "depth", "heads"}));
    VitShape out;
    TRY_ASSIGN(out.image, read_image(in));
    TRY_ASSIGN(const auto patch, in.integer("patch", 1, 128));
    TRY_ASSIGN(const auto dim, in.integer("dim", 8, 4096));
    TRY_ASSIGN(const auto depth, in.integer("depth", 1, 64));
    TRY_ASSIGN(const auto heads, in.integer("heads", 1, 64));
    if (out.image.height % patch != 0 || out.image.width % patch != 0)
        return in.refuse("patch", "must divide the height and the width");
    if (dim % heads != 0) return in.refuse("dim", "must be a multiple of heads");
    out.patch = narrow(patch);
    out.dim = narrow(dim);
    out.depth = narrow(depth);
    out.heads = narrow(heads);
    if (patches_of(out) > 8192)
        return in.refuse("patch", "makes more than 8,192 patches of an image");
    return ModelSpec(out);
}

Result<ModelSpec> read_mlp(const FieldReader& in) {
    TRY(in.only({"arch", "classes", "colors", "height", "width", "hidden", "depth"}));
    MlpShape out;
    TRY_ASSIGN(out.image, read_image(in));
    TRY_ASSIGN(const auto hidden, in.integer("hidden", 1, 65536));
    TRY_ASSIGN(const auto depth, in.integer("depth", 1, 64));
    out.hidden = narrow(hidden);
    out.depth = narrow(depth);
    return ModelSpec(out);
}

Result<ModelSpec> read_model_of(const FieldReader& in, std::string_view arch) {
    if (arch == "gpt") return read_gpt(in);
    if (arch == "cnn") return read_cnn(in);
    if (arch == "resnet") return read_resnet(in);
    if (arch == "vit") return read_vit(in);
    if (arch == "mlp") return read_mlp(in);
    return in.refuse("arch", "must be \"gpt\", \"cnn\", \"resnet\", \"vit\" or \"mlp\"");
}

Result<ModelSpec> read_model(const FieldReader& job) {
    TRY_ASSIGN(const FieldReader in, job.object("model"));
    TRY_ASSIGN(const std::string arch, in.text("arch", 16));
    TRY_ASSIGN(ModelSpec model, read_model_of(in, arch));
    if (parameter_count(model) > kParametersMax)
        return fail(ErrorCode::job_limit, fmt::format("the model has {} parameters, at most {}",
                                                      parameter_count(model), kParametersMax));
    return model;
}

Result<DataSpec> read_data(const FieldReader& job, const ModelSpec& model) {
    TRY_ASSIGN(const FieldReader in, job.object("data"));
    TRY_ASSIGN(const std::string format, in.text("format", 16));
    if (format == "idx") {
        TRY(in.only({"format", "images", "labels"}));
        TRY_ASSIGN(const Hash32 images, read_hash(in, "images"));
        TRY_ASSIGN(const Hash32 labels, read_hash(in, "labels"));
        return DataSpec(IdxData{images, labels});
    }
    if (format == "jsonl" && image_shape(model)) {
        TRY(in.only({"format", "blob"}));
        TRY_ASSIGN(const Hash32 blob, read_hash(in, "blob"));
        return DataSpec(ImageJsonlData{blob});
    }
    if (format == "jsonl") {
        TRY(in.only({"format", "blob", "field"}));
        TRY_ASSIGN(const Hash32 blob, read_hash(in, "blob"));
        TRY_ASSIGN(std::string field, in.text("field", 64));
        if (field.empty()) return in.refuse("field", "must not be empty");
        return DataSpec(JsonlData{blob, std::move(field)});
    }
    if (format != "text" && format != "tokens" && format != "tar")
        return in.refuse("format", "must be \"text\", \"jsonl\", \"tokens\", \"idx\" or \"tar\"");
    TRY(in.only({"format", "blob"}));
    TRY_ASSIGN(const Hash32 blob, read_hash(in, "blob"));
    if (format == "text") return DataSpec(TextData{blob});
    if (format == "tokens") return DataSpec(TokenData{blob});
    return DataSpec(TarData{blob});
}

Result<void> check_data_fits(const FieldReader& in, const TrainSpec& spec) {
    const bool symbols = blobs_of(spec.data).text.has_value();
    const auto* gpt = std::get_if<GptShape>(&spec.model);
    if (symbols != (gpt != nullptr))
        return in.refuse("data.format",
                         "does not fit the model: gpt takes text, jsonl or tokens, a model for "
                         "images takes idx, tar or jsonl");
    if (gpt != nullptr && gpt->vocab != 256 && !std::holds_alternative<TokenData>(spec.data))
        return in.refuse("model.vocab", "must be 256 for text, whose symbols are bytes");
    return {};
}

Result<JobSpec> read_train(const FieldReader& in) {
    TRY(in.only(
        {"version",      "kind",           "model",         "data",          "holdout_bp",
         "batch",        "steps",          "segment_steps", "eval_batches",  "learning_rate",
         "warmup_steps", "weight_decay",   "seed",          "precision",     "optimizer",
         "schedule",     "min_rate_share", "clip_norm",     "ranks",         "accumulate",
         "early_stop",   "sealed",         "init",          "numeric_class", "flops_per_step"}));
    TrainSpec spec;
    TRY_ASSIGN(spec.model, read_model(in));
    TRY_ASSIGN(spec.data, read_data(in, spec.model));
    TRY(check_data_fits(in, spec));
    TRY_ASSIGN(static_cast<LoopSpec&>(spec), read_loop_spec(in));
    TRY_ASSIGN(const auto holdout, in.integer_or("holdout_bp", 0, 5000, 500));
    spec.holdout_bp = narrow(holdout);
    TRY_ASSIGN(spec.declared_flops_per_step,
               in.integer_or("flops_per_step", 0, std::numeric_limits<std::uint64_t>::max(), 0));
    if (in.has("numeric_class")) {
        TRY_ASSIGN(spec.numeric_class, in.text("numeric_class", 2));
        if (spec.numeric_class != "D1" && spec.numeric_class != "D2")
            return in.refuse("numeric_class", "must be \"D1\" or \"D2\"");
    }
    if (in.has("init")) {
        TRY_ASSIGN(spec.init, read_hash(in, "init"));
    }
    if (samples_per_step(spec) > kSamplesPerStepMax)
        return fail(ErrorCode::job_limit, fmt::format("a step takes {} samples, at most {}",
                                                      samples_per_step(spec), kSamplesPerStepMax));
    return JobSpec(std::move(spec));
}

Result<OwnModel> read_own_model(const FieldReader& in) {
    TRY(in.only({"version", "kind", "model", "weights", "tokenizer", "name"}));
    OwnModel out;
    TRY_ASSIGN(out.model, read_model(in));
    const auto* gpt = std::get_if<GptShape>(&out.model);
    if (gpt == nullptr) return in.refuse("model.arch", "cannot be served");
    if (gpt->vocab != 256) return in.refuse("model.vocab", "must be 256 to be served as bytes");
    TRY_ASSIGN(out.weights, read_hash(in, "weights"));
    if (in.has("tokenizer")) {
        TRY_ASSIGN(const std::string tokenizer, in.text("tokenizer", 32));
        if (tokenizer != "bytes") return in.refuse("tokenizer", "must be \"bytes\"");
    }
    return out;
}

Result<FolderFiles> read_folder(const FieldReader& in, const JsonValue& files) {
    TRY(in.only({"version", "kind", "files", "weights_format", "name"}));
    FolderFiles out;
    TRY_ASSIGN(out.blobs, read_folder_files(in, files));
    if (!in.has("weights_format")) return out;
    TRY_ASSIGN(const std::string format, in.text("weights_format", 8));
    const auto known = kernels::parse_weight_format(format);
    if (!known)
        return in.refuse("weights_format", "must be \"fp32\", \"bf16\", \"int8\" or \"int4\"");
    out.format = *known;
    return out;
}

Result<JobSpec> read_serve(const FieldReader& in, const JsonValue& document) {
    ServeSpec spec;
    if (const auto files = document.member("files")) {
        TRY_ASSIGN(spec.source, read_folder(in, *files));
    } else {
        TRY_ASSIGN(spec.source, read_own_model(in));
    }
    TRY_ASSIGN(spec.name, in.text("name", 128));
    if (spec.name.empty()) return in.refuse("name", "must not be empty");
    return JobSpec(std::move(spec));
}

std::uint64_t forward_flops(const GptShape& gpt, std::uint64_t batch) {
    const std::uint64_t w = gpt.width;
    const std::uint64_t layer = 24 * w * w + 4 * std::uint64_t{gpt.context} * w;
    return batch * gpt.context * (gpt.depth * layer + 2 * w * gpt.vocab);
}

std::uint64_t forward_flops(const CnnShape& cnn, std::uint64_t batch) {
    const std::uint64_t c = cnn.channels;
    const std::uint64_t half = std::uint64_t{cnn.height / 2} * (cnn.width / 2);
    const std::uint64_t quarter = std::uint64_t{cnn.height / 4} * (cnn.width / 4);
    return batch *
           (18 * c * cnn.height * cnn.width + 36 * c * c * half + 4 * c * quarter * cnn.classes);
}

std::uint64_t forward_flops(const ResnetShape& net, std::uint64_t batch) {
    std::uint64_t height = net.image.height;
    std::uint64_t width = net.image.width;
    std::uint64_t channels = net.channels;
    std::uint64_t total = 18 * net.image.colors * channels * height * width;
    for (std::uint32_t stage = 0; stage < net.stages; ++stage) {
        std::uint64_t into = channels;
        if (stage > 0) {
            channels *= 2;
            height = (height + 1) / 2;
            width = (width + 1) / 2;
            total += 2 * into * channels * height * width;  // the shortcut
        }
        for (std::uint32_t block = 0; block < net.blocks; ++block) {
            total += 18 * (into + channels) * channels * height * width;
            into = channels;
        }
    }
    return batch * (total + 2 * channels * net.image.classes);
}

std::uint64_t forward_flops(const VitShape& vit, std::uint64_t batch) {
    const std::uint64_t d = vit.dim;
    const std::uint64_t tokens = patches_of(vit);
    const std::uint64_t layer = 24 * d * d + 4 * tokens * d;
    const std::uint64_t embed = 2 * d * vit.image.colors * vit.patch * vit.patch;
    return batch * (tokens * (vit.depth * layer + embed) + 2 * d * vit.image.classes);
}

std::uint64_t forward_flops(const MlpShape& mlp, std::uint64_t batch) {
    const std::uint64_t h = mlp.hidden;
    const std::uint64_t pixels =
        std::uint64_t{mlp.image.colors} * mlp.image.height * mlp.image.width;
    return batch * 2 * h * (pixels + (mlp.depth - 1) * h + mlp.image.classes);
}

// Numbers in fp32 that the forward pass of a row keeps for the backward one, from above.
std::uint64_t activations(const GptShape& gpt) {
    const std::uint64_t per_token =
        gpt.depth * (24ULL * gpt.width + 3ULL * gpt.heads * gpt.context) + 4ULL * gpt.vocab;
    return gpt.context * per_token;
}

std::uint64_t activations(const CnnShape& cnn) {
    return 8ULL * cnn.channels * cnn.height * cnn.width;
}

std::uint64_t activations(const ResnetShape& net) {
    // A stage has half of the numbers of the one before it.
    const std::uint64_t first =
        12ULL * (net.blocks + 1) * net.channels * net.image.height * net.image.width;
    return 2 * first;
}

std::uint64_t activations(const VitShape& vit) {
    const std::uint64_t tokens = patches_of(vit);
    return tokens * vit.depth * (24ULL * vit.dim + 3 * vit.heads * tokens) +
           4ULL * vit.image.colors * vit.image.height * vit.image.width;
}

std::uint64_t activations(const MlpShape& mlp) {
    return 4ULL * mlp.depth * mlp.hidden +
           4ULL * mlp.image.colors * mlp.image.height * mlp.image.width;
}

std::uint64_t activation_bytes(const ModelSpec& model, std::uint64_t rows) {
    return 4 * rows * std::visit([](const auto& shape) { return activations(shape); }, model);
}

}  // namespace

Hash32 model_hash(const FileBlobs& files) {
    std::string canonical;  // the map is sorted and no name needs an escape
    for (const auto& [name, blob] : files)
        canonical += fmt::format("{}\"{}\":\"{}\"", canonical.empty() ? "" : ",", name,
                                 ledger::base::to_hex(blob));
    return ledger::base::sha256(ledger::base::as_bytes("{" + canonical + "}"));
}

Hash32 model_hash(const ServeSpec& spec) {
    if (const auto* own = std::get_if<OwnModel>(&spec.source)) return own->weights;
    return model_hash(std::get<FolderFiles>(spec.source).blobs);
}

Arch arch_of(const ModelSpec& model) noexcept {
    return static_cast<Arch>(model.index());  // the variant's order is the enumeration's
}

std::string_view to_string(Arch arch) noexcept {
    constexpr std::array<std::string_view, std::variant_size_v<ModelSpec>> kNames{
        "gpt", "cnn", "resnet", "vit", "mlp"};
    return kNames.at(static_cast<std::size_t>(arch));
}

std::optional<ImageShape> image_shape(const ModelSpec& model) noexcept {
    if (const auto* cnn = std::get_if<CnnShape>(&model))
        return ImageShape{cnn->classes, 1, cnn->height, cnn->width};
    if (const auto* resnet = std::get_if<ResnetShape>(&model)) return resnet->image;
    if (const auto* vit = std::get_if<VitShape>(&model)) return vit->image;
    if (const auto* mlp = std::get_if<MlpShape>(&model)) return mlp->image;
    return std::nullopt;
}

DataBlobs blobs_of(const DataSpec& data) noexcept {
    DataBlobs out;
    if (const auto* text = std::get_if<TextData>(&data)) out.text = text->blob;
    if (const auto* jsonl = std::get_if<JsonlData>(&data)) out.text = jsonl->blob;
    if (const auto* tokens = std::get_if<TokenData>(&data)) out.text = tokens->blob;
    if (const auto* tar = std::get_if<TarData>(&data)) out.images = tar->blob;
    if (const auto* jsonl = std::get_if<ImageJsonlData>(&data)) out.images = jsonl->blob;
    if (const auto* idx = std::get_if<IdxData>(&data)) {
        out.images = idx->images;
        out.labels = idx->labels;
    }
    return out;
}

std::uint64_t parameter_count(const ModelSpec& model) noexcept {
    const auto layout = parameter_layout(model);
    return layout.back().offset + layout.back().size;
}

std::uint64_t samples_per_step(const TrainSpec& spec) noexcept {
    if (const auto* gpt = std::get_if<GptShape>(&spec.model))
        return std::uint64_t{spec.batch} * gpt->context;
    return spec.batch;
}

std::uint64_t flops_per_step(const TrainSpec& spec) noexcept {
    const std::uint64_t forward =
        std::visit([&](const auto& shape) { return forward_flops(shape, spec.batch); }, spec.model);
    return 3 * forward + 16 * parameter_count(spec.model);
}

std::uint64_t memory_estimate(const JobSpec& spec) noexcept {
    constexpr std::uint64_t kRuntime = 512ULL << 20U;
    if (const auto* train = std::get_if<TrainSpec>(&spec)) {
        // Values, gradients, two moments, the copy being written, and bf16 values; then sums of
        // gradients. Every rank has its own.
        const std::uint64_t sums = (train->accumulate > 1 ? 4U : 0U) + (train->ranks > 1 ? 8U : 0U);
        return train->ranks * (kRuntime + (30 + sums) * parameter_count(train->model) +
                               activation_bytes(train->model, micro_batch(*train)));
    }
    const auto* serve = std::get_if<ServeSpec>(&spec);
    const auto* own = serve == nullptr ? nullptr : std::get_if<OwnModel>(&serve->source);
    return own == nullptr ? 0 : kRuntime + 5 * parameter_count(own->model);
}

Result<JobSpec> parse_job_spec(std::string_view text) {
    if (text.size() > limits::kJobSpecBytes)
        return fail(ErrorCode::job_limit,
                    fmt::format("the job spec is longer than {} bytes", limits::kJobSpecBytes));
    const auto parsed = JsonValue::parse(text, 8);
    if (!parsed) return fail(ErrorCode::job_spec_invalid, parsed.error().detail());
    const FieldReader in(*parsed, "", ErrorCode::job_spec_invalid);
    if (!parsed->is_object())
        return fail(ErrorCode::job_spec_invalid, "the job spec must be an object");
    TRY(in.integer("version", 1, 1));
    TRY_ASSIGN(const std::string kind, in.text("kind", 32));
    if (kind == "train") return read_train(in);
    if (kind == "infer.serve") return read_serve(in, *parsed);
    if (kind == "finetune") {
        TRY_ASSIGN(FinetuneSpec spec, read_finetune_spec(in, *parsed));
        return JobSpec(std::move(spec));
    }
    return in.refuse("kind", "must be \"train\", \"finetune\" or \"infer.serve\"");
}

}  // namespace worker::model

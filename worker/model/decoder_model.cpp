// SPDX-License-Identifier: Apache-2.0
#include "worker/model/decoder_model.hpp"

#include "worker/model/decoder_names.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace worker::model {

using kernels::SourceOrder;
using kernels::SourceType;
using kernels::WeightFormat;
using kernels::WeightMatrix;
using kernels::WeightSource;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

/// Tensors that follow from the config (masks, frequencies), or belong to training.
bool is_known_extra(const DecoderConfig& config, std::string_view name, std::string_view head) {
    if (config.tied_head && name == head) return true;
    switch (config.names) {
        case WeightNames::kLlama:
            return name.ends_with(".rotary_emb.inv_freq");
        case WeightNames::kGpt2:
            return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
                   name.starts_with("adam.first.") || name.starts_with("adam.second.");
        case WeightNames::kNeox:
            return name.ends_with(".attention.bias") || name.ends_with(".attention.masked_bias") ||
                   name.ends_with(".rotary_emb.inv_freq");
    }
    return false;
}

using Shape = std::vector<std::int64_t>;

/// Takes tensors out of a set, each with the shape that the config gives it.
class Loader {
 public:
    Loader(const DecoderConfig& config, const TensorSet& tensors, WeightFormat format,
           kernels::Pool& pool)
        : config_(config),
          tensors_(tensors),
          format_(format),
          pool_(pool),
          names_(decoder_names(config.names)) {
        // The first files of GPT-2 have no prefix, later ones do.
        if (config.names == WeightNames::kGpt2 && tensors.find("wte.weight") == nullptr)
            prefix_ = "transformer.";
    }

    Result<void> load(DecoderModel& out) {
        const std::int64_t vocab = config_.vocab;
        const std::int64_t width = config_.width;
        const WeightFormat head = format_ == WeightFormat::kInt4 ? WeightFormat::kInt8 : format_;
        const WeightFormat table = format_ == WeightFormat::kF32 ? format_ : WeightFormat::kBf16;
        TRY_ASSIGN(out.embedding, matrix({in_body(names_.embedding)}, {vocab}, width,
                                         config_.tied_head ? head : table));
        if (config_.rope.dims == 0) {
            TRY_ASSIGN(out.positions, vector(in_body(names_.positions), {config_.context, width}));
        }
        for (std::uint32_t i = 0; i < config_.depth; ++i) {
            TRY_ASSIGN(LayerWeights layer,
                       load_layer(fmt::format("{}.{}.", in_body(names_.layers), i)));
            out.layers.push_back(std::move(layer));
        }
        TRY_ASSIGN(out.last, norm(in_body(names_.last)));
        if (!config_.tied_head) {
            TRY_ASSIGN(out.untied_head, matrix({std::string(names_.head)}, {vocab}, width, head));
        }
        for (const auto& [name, tensor] : tensors_.tensors())
            if (!used_.contains(name) && !is_known_extra(config_, name, names_.head))
                return fail(ErrorCode::data_invalid,
                            fmt::format("{} has no place in the model of the config", name));
        return {};
    }

 private:
    [[nodiscard]] std::string in_body(std::string_view name) const {
        return fmt::format("{}{}", prefix_, name);
    }

    Result<const TensorView*> take(const std::string& name, const Shape& shape) {
        const TensorView* tensor = tensors_.find(name);
        if (tensor == nullptr)
            return fail(ErrorCode::data_invalid, fmt::format("{} is missing", name));
        if (tensor->shape != shape)
            return fail(ErrorCode::data_invalid,
                        fmt::format("{} has the shape [{}], the config gives [{}]", name,
                                    fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")));
        used_.insert(name);
        return tensor;
    }

    static Result<SourceType> type_of(const TensorView& tensor) {
        switch (tensor.dtype) {
            case Dtype::kF32:
                return SourceType::kF32;
            case Dtype::kBf16:
                return SourceType::kBf16;
            case Dtype::kF16:
                return SourceType::kF16;
            default:
                return fail(ErrorCode::data_invalid,
                            fmt::format("{} is {}; weights are F32, F16 or BF16", tensor.name,
                                        to_string(tensor.dtype)));
        }
    }

    Result<std::vector<float>> vector(const std::string& name, const Shape& shape) {
        TRY_ASSIGN(const TensorView* tensor, take(name, shape));
        TRY_ASSIGN(const SourceType type, type_of(*tensor));
        std::vector<float> out(tensor->data.size() / kernels::bytes_of(type));
        kernels::to_floats(type, std::as_bytes(tensor->data).data(), out.size(), out.data());
        if (!std::all_of(out.begin(), out.end(), [](float v) { return std::isfinite(v); }))
            return fail(ErrorCode::data_invalid,
                        fmt::format("{} holds a number that is not finite", name));
        MappedFile::release(tensor->data);
        return out;
    }

    Result<NormWeights> norm(const std::string& name) {
        NormWeights out;
        TRY_ASSIGN(out.weight, vector(name + ".weight", {config_.width}));
        if (config_.norm == NormKind::kLayerNorm) {
            TRY_ASSIGN(out.bias, vector(name + ".bias", {config_.width}));
        }
        return out;
    }

    /// The sources of one tensor, [n][k] or, with GPT-2's names, [k][n].
    Result<WeightSource> source(const std::string& name, std::int64_t n, std::int64_t k,
                                SourceOrder order) {
        TRY_ASSIGN(const TensorView* tensor,
                   take(name, order == SourceOrder::kOutIn ? Shape{n, k} : Shape{k, n}));
        WeightSource out;
        TRY_ASSIGN(out.type, type_of(*tensor));
        out.data = std::as_bytes(tensor->data);
        out.order = order;
        out.n = static_cast<std::size_t>(n);
        out.k = static_cast<std::size_t>(k);
        return out;
    }

    /// Packs and lets go of the file's pages. `named` is for the message.
    Result<WeightMatrix> pack(std::span<const WeightSource> sources, WeightFormat format,
                              const std::string& named) {
        auto packed = WeightMatrix::pack(sources, format, pool_);
        if (!packed)
            return fail(packed.error().code(),
                        fmt::format("{}: {}", named, packed.error().detail()));
        for (const WeightSource& part : sources)
            MappedFile::release(
                {reinterpret_cast<const std::uint8_t*>(part.data.data()), part.data.size()});
        return std::move(*packed);
    }

    Result<WeightMatrix> matrix(const std::vector<std::string>& names,
                                const std::vector<std::int64_t>& outs, std::int64_t in,
                                WeightFormat format, SourceOrder order = SourceOrder::kOutIn) {
        std::vector<WeightSource> sources;
        for (std::size_t i = 0; i < names.size(); ++i) {
            TRY_ASSIGN(const WeightSource part, source(names[i], outs[i], in, order));
            sources.push_back(part);
        }
        return pack(sources, format, fmt::format("{}", fmt::join(names, ", ")));
    }

    enum class Bias : std::uint8_t { kNone, kPresent };
    static Bias bias_if(bool present) { return present ? Bias::kPresent : Bias::kNone; }

    Result<LinearWeights> linear(const std::string& layer,
                                 const std::vector<std::string_view>& parts,
                                 const std::vector<std::int64_t>& outs, std::int64_t in,
                                 Bias bias) {
        LinearWeights out;
        std::vector<std::string> names;
        for (const std::string_view part : parts)
            names.push_back(fmt::format("{}{}.weight", layer, part));
        const SourceOrder order =
            config_.names == WeightNames::kGpt2 ? SourceOrder::kInOut : SourceOrder::kOutIn;
        TRY_ASSIGN(out.weight, matrix(names, outs, in, format_, order));
        for (std::size_t i = 0; bias == Bias::kPresent && i < parts.size(); ++i) {
            TRY_ASSIGN(const auto part,
                       vector(fmt::format("{}{}.bias", layer, parts[i]), {outs[i]}));
            out.bias.insert(out.bias.end(), part.begin(), part.end());
        }
        return out;
    }

    /// GPT-NeoX stores q, k and v of a head together; here all queries come first.
    Result<LinearWeights> interleaved_qkv(const std::string& layer) {
        const std::string name = layer + std::string(names_.qkv[0]);
        TRY_ASSIGN(const WeightSource whole, source(name + ".weight", config_.qkv_width(),
                                                    config_.width, SourceOrder::kOutIn));
        std::vector<float> bias;
        if (config_.qkv_bias) {
            TRY_ASSIGN(bias, vector(name + ".bias", {config_.qkv_width()}));
        }
        LinearWeights out;
        std::vector<WeightSource> sources;
        const std::size_t rows = config_.head_dim;
        const std::size_t row_bytes = whole.k * kernels::bytes_of(whole.type);
        for (std::size_t kind = 0; kind < 3; ++kind)
            for (std::size_t head = 0; head < config_.heads; ++head) {
                const std::size_t first = (head * 3 + kind) * rows;
                WeightSource part = whole;
                part.n = rows;
                part.data = whole.data.subspan(first * row_bytes, rows * row_bytes);
                sources.push_back(part);
                if (config_.qkv_bias) {
                    const auto from = bias.begin() + static_cast<std::ptrdiff_t>(first);
                    out.bias.insert(out.bias.end(), from, from + config_.head_dim);
                }
            }
        TRY_ASSIGN(out.weight, pack(sources, format_, name + ".weight"));
        return out;
    }

    Result<LinearWeights> qkv(const std::string& layer) {
        if (config_.names == WeightNames::kNeox) return interleaved_qkv(layer);
        if (names_.qkv.size() == 1)
            return linear(layer, names_.qkv, {config_.qkv_width()}, config_.width,
                          bias_if(config_.qkv_bias));
        return linear(layer, names_.qkv,
                      {config_.query_width(), config_.kv_width(), config_.kv_width()},
                      config_.width, bias_if(config_.qkv_bias));
    }

    Result<LayerWeights> load_layer(const std::string& layer) {
        LayerWeights out;
        const std::int64_t width = config_.width;
        const std::int64_t ffn = config_.ffn;
        TRY_ASSIGN(out.before_attention, norm(layer + std::string(names_.before_attention)));
        TRY_ASSIGN(out.qkv, qkv(layer));
        if (config_.qk_norm) {
            TRY_ASSIGN(out.query_norm,
                       vector(layer + std::string(names_.query_norm), {config_.head_dim}));
            TRY_ASSIGN(out.key_norm,
                       vector(layer + std::string(names_.key_norm), {config_.head_dim}));
        }
        TRY_ASSIGN(out.attention_out,
                   linear(layer, {names_.attention_out}, {width}, config_.query_width(),
                          bias_if(config_.attention_out_bias)));
        TRY_ASSIGN(out.before_mlp, norm(layer + std::string(names_.before_mlp)));
        if (config_.mlp == MlpKind::kGated) {
            TRY_ASSIGN(out.up, linear(layer, {names_.gate, names_.up}, {ffn, ffn}, width,
                                      bias_if(config_.mlp_bias)));
        } else {
            TRY_ASSIGN(out.up, linear(layer, {names_.up}, {ffn}, width, bias_if(config_.mlp_bias)));
        }
        TRY_ASSIGN(out.down, linear(layer, {names_.down}, {width}, ffn, bias_if(config_.mlp_bias)));
        return out;
    }

    const DecoderConfig& config_;
    const TensorSet& tensors_;
    WeightFormat format_;
    kernels::Pool& pool_;
    DecoderNames names_;
    std::string prefix_;
    std::set<std::string, std::less<>> used_;
};

}  // namespace

Result<std::shared_ptr<const DecoderModel>> DecoderModel::load(const DecoderConfig& config,
                                                               const TensorSet& tensors,
                                                               WeightFormat format,
                                                               kernels::Pool& pool) {
    TRY(check_decoder_config(config));
    auto out = std::make_shared<DecoderModel>(config);
    out->format = format;
    TRY(Loader(config, tensors, format, pool).load(*out));
    return std::shared_ptr<const DecoderModel>(std::move(out));
}

Result<PublishedModel> load_published(const std::filesystem::path& folder, WeightFormat format,
                                      kernels::Pool& pool) {
    TRY_ASSIGN(const ModelFolder files, ModelFolder::open(folder));
    TRY_ASSIGN(const DecoderConfig config, parse_hf_config(files.config));
    PublishedModel out;
    TRY_ASSIGN(out.defaults,
               parse_generation_config(files.generation.value_or(files.config), config.vocab));
    // Older folders say in config.json how a text ends.
    if (out.defaults.end_tokens.empty() && files.generation) {
        TRY_ASSIGN(const GenerationDefaults older,
                   parse_generation_config(files.config, config.vocab));
        out.defaults.end_tokens = older.end_tokens;
    }
    TRY_ASSIGN(out.model, DecoderModel::load(config, files.tensors, format, pool));
    return out;
}

std::uint64_t DecoderModel::bytes() const noexcept {
    std::uint64_t floats = positions.size() + last.weight.size() + last.bias.size();
    std::uint64_t packed = embedding.bytes() + (config.tied_head ? 0 : untied_head.bytes());
    for (const LayerWeights& layer : layers) {
        for (const NormWeights* norm : {&layer.before_attention, &layer.before_mlp})
            floats += norm->weight.size() + norm->bias.size();
        for (const LinearWeights* linear :
             {&layer.qkv, &layer.attention_out, &layer.up, &layer.down}) {
            packed += linear->weight.bytes();
            floats += linear->bias.size();
        }
        floats += layer.query_norm.size() + layer.key_norm.size();
    }
    return packed + floats * sizeof(float);
}

}  // namespace worker::model

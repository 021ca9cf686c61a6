// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/check.hpp"
#include "worker/kernels/cuda_attention.cuh"
#include "worker/kernels/cuda_linear.cuh"
#include "worker/kernels/cuda_rows.cuh"
#include "worker/model/cuda_decoder.hpp"
#include "worker/model/cuda_lists.cuh"
#include "worker/model/cuda_memory.cuh"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <numbers>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace worker::model {

namespace cuda = kernels::cuda;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr unsigned kGraphRowsMax = 64;                  // more rows hide the launches anyway
constexpr std::size_t kAngles = std::size_t{1} << 31U;  // bytes of rotary tables, at most

std::uint16_t to_bf16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7FFFU + (bits >> 16U & 1U)) >> 16U);
}

struct Linear {
    DeviceArray<std::uint16_t> weights;
    DeviceArray<float> bias;  // whole tiles
    unsigned outputs = 0;
    unsigned deep = 0;
    bool has_bias = false;
};

/// Output `place` of the device's matrix is output `order(place)` of the host's.
template <typename Order>
Result<Linear> upload(const kernels::WeightMatrix& matrix, std::span<const float> bias, Order order,
                      kernels::Pool& pool) {
    Linear out;
    out.outputs = static_cast<unsigned>(matrix.n());
    const std::size_t deep = cuda::padded(matrix.k(), cuda::kInputsPad) / cuda::kDeep;
    const std::size_t outputs = cuda::padded(matrix.n(), cuda::kTile);
    out.deep = static_cast<unsigned>(deep);
    std::vector<std::uint16_t> values(outputs * deep * cuda::kDeep);
    pool.run(matrix.n(), [&](std::size_t begin, std::size_t end, std::size_t) {
        std::vector<float> row(matrix.k());
        for (std::size_t output = begin; output < end; ++output) {
            matrix.row(order(output), row.data());
            for (std::size_t input = 0; input < row.size(); ++input)
                values[cuda::weight_place(output, input, deep)] = to_bf16(row[input]);
        }
    });
    TRY_ASSIGN(out.weights, DeviceArray<std::uint16_t>::copy(values));
    out.has_bias = !bias.empty();
    if (out.has_bias) {
        std::vector<float> ordered(outputs);
        for (std::size_t output = 0; output < bias.size(); ++output)
            ordered[output] = bias[order(output)];
        TRY_ASSIGN(out.bias, DeviceArray<float>::copy(ordered));
    }
    return out;
}
constexpr auto kAsIs = [](std::size_t output) { return output; };

struct Norm {
    DeviceArray<float> weight;
    DeviceArray<float> bias;
};
Result<Norm> upload(const NormWeights& norm) {
    Norm out;
    TRY_ASSIGN(out.weight, DeviceArray<float>::copy(norm.weight));
    TRY_ASSIGN(out.bias, DeviceArray<float>::copy(norm.bias));
    return out;
}

struct Layer {
    Norm before_attention;
    Linear qkv;
    DeviceArray<float> query_norm;
    DeviceArray<float> key_norm;
    Linear attention_out;
    Norm before_mlp;
    Linear up;
    Linear down;
};

Result<Layer> upload(const LayerWeights& from, const DecoderConfig& config, kernels::Pool& pool) {
    Layer out;
    TRY_ASSIGN(out.before_attention, upload(from.before_attention));
    TRY_ASSIGN(out.qkv, upload(from.qkv.weight, from.qkv.bias, kAsIs, pool));
    TRY_ASSIGN(out.query_norm, DeviceArray<float>::copy(from.query_norm));
    TRY_ASSIGN(out.key_norm, DeviceArray<float>::copy(from.key_norm));
    TRY_ASSIGN(out.attention_out,
               upload(from.attention_out.weight, from.attention_out.bias, kAsIs, pool));
    TRY_ASSIGN(out.before_mlp, upload(from.before_mlp));
    // Eight gates and their eight values share a tile, so one warp has both.
    const std::size_t ffn = config.ffn;
    const auto paired = [ffn](std::size_t place) {
        const std::size_t inner = place / 16 * 8 + place % 8;
        return place % 16 < 8 ? inner : ffn + inner;
    };
    if (config.mlp == MlpKind::kGated) {
        TRY_ASSIGN(out.up, upload(from.up.weight, from.up.bias, paired, pool));
    } else {
        TRY_ASSIGN(out.up, upload(from.up.weight, from.up.bias, kAsIs, pool));
    }
    TRY_ASSIGN(out.down, upload(from.down.weight, from.down.bias, kAsIs, pool));
    return out;
}

Result<void> check_shape(const DecoderConfig& config) {
    if (config.head_dim > cuda::kHeadSizeMax)
        return fail(ErrorCode::unsupported, "on CUDA a head has at most 256 dimensions");
    if (config.width % 4 != 0 || config.width > cuda::kNormWidthMax)
        return fail(ErrorCode::unsupported,
                    "on CUDA the model's width is a multiple of 4 of at most 16384");
    if (config.ffn % 8 != 0)
        return fail(ErrorCode::unsupported, "on CUDA the MLP's inner width is a multiple of 8");
    return {};
}

cuda::Curve curve_of(Activation activation) {
    switch (activation) {
        case Activation::kSilu:
            break;
        case Activation::kGelu:
            return cuda::Curve::kGelu;
        case Activation::kGeluTanh:
            return cuda::Curve::kGeluTanh;
    }
    return cuda::Curve::kSilu;
}

}  // namespace

struct CudaDecoder::State {
    State(const DecoderConfig& config_in, const Options& options_in)
        : config(config_in),
          options(options_in),
          table_size((config.context + cuda::kPageTokens - 1) / cuda::kPageTokens),
          inputs_host(inputs_count()),
          shape{config.heads, config.kv_heads, config.head_dim},
          lists(config.vocab) {
        MR_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    }
    ~State() {
        for (const auto& [key, graph] : graphs)
            cudaGraphExecDestroy(graph);
        cudaStreamDestroy(stream);
    }
    State(const State&) = delete;
    State& operator=(const State&) = delete;

    /// Inputs of a call, one copy: tokens, positions, where tables begin, wanted rows, tiles,
    /// tables.
    [[nodiscard]] std::size_t inputs_count() const {
        return 6 * std::size_t{options.rows_max} + options.sequences_max * table_size;
    }
    [[nodiscard]] Result<void> allocate(const DecoderModel& model, kernels::Pool& pool);
    [[nodiscard]] Result<void> allocate_angles(const Rope& rope);

    void fill_inputs(std::span<const DecoderRow> rows);
    void run_linear(const Linear& weights, const DeviceArray<std::uint16_t>& input, float* out,
                    bool add, unsigned count);
    void norm(const Norm& weights, unsigned count, const std::uint32_t* wanted, float* plain);
    void layer(std::size_t index);
    enum class Wanted : std::uint8_t { kHidden, kLogits, kLists };
    void pass(Wanted what);
    void make_room(Wanted what);
    void run(std::span<const DecoderRow> batch, Wanted what, std::span<const ShortlistWish> wishes);
    std::span<const float> bring(std::size_t begin, std::size_t count);

    DecoderConfig config;
    Options options;
    std::size_t table_size;
    PinnedArray<std::uint32_t> inputs_host;
    cuda::CacheShape shape;
    cudaStream_t stream = nullptr;
    unsigned processors = 1;

    DeviceArray<std::uint16_t> embedding;  // [vocab][width]
    DeviceArray<float> positions;
    DeviceArray<float> cosines;
    DeviceArray<float> sines;
    std::vector<Layer> layers;
    Norm last;
    Linear head;

    DeviceArray<std::uint32_t> inputs;
    DeviceArray<float> x;
    DeviceArray<float> qkv;
    DeviceArray<std::uint16_t> normed;
    DeviceArray<std::uint16_t> normed_last;  // of the wanted rows
    DeviceArray<std::uint16_t> mixed;
    DeviceArray<std::uint16_t> inner;
    DeviceArray<float> result;  // logits or hidden states
    DeviceArray<float> parts;
    DeviceArray<unsigned> arrived;
    std::vector<DeviceArray<std::uint16_t>> cache;  // one a layer
    std::unique_ptr<PinnedArray<float>> result_host;
    std::size_t result_rows = 0;
    RowLists lists;

    unsigned rows = 0;  // of the call under way
    unsigned wanted = 0;
    unsigned tiles = 0;
    unsigned splits = 0;
    // By rows, tiles, splits, and whether there are lists.
    std::map<std::array<unsigned, 4>, cudaGraphExec_t> graphs;
};

Result<void> CudaDecoder::State::allocate_angles(const Rope& rope) {
    const std::size_t half = rope.size();
    if (half == 0) return {};
    const std::size_t count = half * config.context;
    if (count * sizeof(float) * 2 > kAngles)
        return fail(ErrorCode::unsupported, "the context is too long for this device");
    std::vector<float> cos(count);
    std::vector<float> sin(count);
    for (std::uint32_t place = 0; place < config.context; ++place)
        rope.angles(place, cos.data() + place * half, sin.data() + place * half);
    TRY_ASSIGN(cosines, DeviceArray<float>::copy(cos));
    TRY_ASSIGN(sines, DeviceArray<float>::copy(sin));
    return {};
}

Result<void> CudaDecoder::State::allocate(const DecoderModel& model, kernels::Pool& pool) {
    int count = 0;
    MR_CUDA(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0));
    processors = static_cast<unsigned>(count);
    const std::size_t width = config.width;
    {
        std::vector<std::uint16_t> table(config.vocab * width);
        pool.run(config.vocab, [&](std::size_t begin, std::size_t end, std::size_t) {
            std::vector<float> row(width);
            for (std::size_t i = begin; i < end; ++i) {
                model.embedding.row(i, row.data());
                for (std::size_t j = 0; j < width; ++j)
                    table[i * width + j] = to_bf16(row[j]);
            }
        });
        TRY_ASSIGN(embedding, DeviceArray<std::uint16_t>::copy(table));
    }
    TRY_ASSIGN(positions, DeviceArray<float>::copy(model.positions));
    TRY(allocate_angles(model.rope));
    for (const LayerWeights& weights : model.layers) {
        TRY_ASSIGN(Layer one, upload(weights, config, pool));
        layers.push_back(std::move(one));
    }
    TRY_ASSIGN(last, upload(model.last));
    TRY_ASSIGN(head, upload(model.head(), {}, kAsIs, pool));

    const std::size_t most = cuda::padded(options.rows_max, cuda::kRowsPad);
    const auto activations = [&](std::size_t inputs_in) {
        return most * cuda::padded(inputs_in, cuda::kInputsPad);
    };
    TRY_ASSIGN(inputs, DeviceArray<std::uint32_t>::make(inputs_count()));
    TRY_ASSIGN(x, DeviceArray<float>::make(most * width));
    TRY_ASSIGN(qkv, DeviceArray<float>::make(most * config.qkv_width()));
    TRY_ASSIGN(normed, DeviceArray<std::uint16_t>::make(activations(width)));
    TRY_ASSIGN(normed_last, DeviceArray<std::uint16_t>::make(activations(width)));
    TRY_ASSIGN(mixed, DeviceArray<std::uint16_t>::make(activations(config.query_width())));
    TRY_ASSIGN(inner, DeviceArray<std::uint16_t>::make(activations(config.ffn)));
    const std::size_t split_count = (config.context + cuda::kSplit - 1) / cuda::kSplit;
    TRY_ASSIGN(parts, DeviceArray<float>::make(options.rows_max * config.heads * split_count *
                                               (config.head_dim + 2)));
    TRY_ASSIGN(arrived,
               DeviceArray<unsigned>::make(options.rows_max * cuda::attention_groups(shape)));
    for (std::uint32_t i = 0; i < config.depth; ++i) {
        TRY_ASSIGN(auto pages, DeviceArray<std::uint16_t>::make(options.pages * page_bytes(config) /
                                                                config.depth / 2));
        cache.push_back(std::move(pages));
    }
    return {};
}

void CudaDecoder::State::fill_inputs(std::span<const DecoderRow> batch) {
    const std::size_t most = options.rows_max;
    std::uint32_t* tokens = inputs_host.get();
    std::uint32_t* places = tokens + most;
    std::uint32_t* begins = places + most;
    std::uint32_t* chosen = begins + most;
    auto* grouped = reinterpret_cast<cuda::RowTile*>(chosen + most);
    std::uint32_t* tables = chosen + 3 * most;
    std::map<const KvSequence*, std::uint32_t> known;
    std::uint32_t used = 0;
    std::uint32_t longest = 0;
    rows = static_cast<unsigned>(batch.size());
    wanted = 0;
    tiles = 0;
    for (std::uint32_t r = 0; r < rows; ++r) {
        const DecoderRow& row = batch[r];
        MR_CHECK(row.token < config.vocab);
        MR_CHECK(row.position < config.context);
        MR_CHECK(row.position < row.sequence->capacity());
        tokens[r] = row.token;
        places[r] = row.position;
        longest = std::max(longest, row.position + 1);
        const auto [at, added] = known.try_emplace(row.sequence, used);
        if (added) {
            const auto numbers = row.sequence->numbers();
            MR_CHECK(used + numbers.size() <= options.sequences_max * table_size);
            std::copy(numbers.begin(), numbers.end(), tables + used);
            used += static_cast<std::uint32_t>(numbers.size());
        }
        begins[r] = at->second;
        if (row.wanted) chosen[wanted++] = r;
        if (r > 0 && row.sequence == batch[r - 1].sequence &&
            row.position == batch[r - 1].position + 1 &&
            grouped[tiles - 1].count < cuda::tile_rows(shape)) {
            ++grouped[tiles - 1].count;
        } else {
            grouped[tiles++] = {r, 1};
        }
    }
    splits = (longest + cuda::kSplit - 1) / cuda::kSplit;
    MR_CUDA(cudaMemcpyAsync(inputs.get(), inputs_host.get(),
                            (6 * most + used) * sizeof(std::uint32_t), cudaMemcpyHostToDevice,
                            stream));
}

void CudaDecoder::State::run_linear(const Linear& weights, const DeviceArray<std::uint16_t>& input,
                                    float* out, bool add, unsigned count) {
    cuda::LinearCall call;
    call.weights = reinterpret_cast<const uint4*>(weights.weights.get());
    call.bias = weights.has_bias ? weights.bias.get() : nullptr;
    call.input = reinterpret_cast<const uint4*>(input.get());
    call.out = out;
    call.outputs = weights.outputs;
    call.deep = weights.deep;
    call.rows = count;
    if (add) {
        cuda::linear<cuda::Then::kAdd>(call, processors, stream);
    } else {
        cuda::linear<cuda::Then::kStore>(call, processors, stream);
    }
}

void CudaDecoder::State::norm(const Norm& weights, unsigned count, const std::uint32_t* chosen,
                              float* plain) {
    cuda::NormCall call;
    call.in = x.get();
    call.wanted = chosen;
    call.weight = weights.weight.get();
    call.bias = weights.bias.get();
    call.out =
        reinterpret_cast<__nv_bfloat16*>(chosen == nullptr ? normed.get() : normed_last.get());
    call.plain = plain;
    call.width = config.width;
    call.deep = layers.front().qkv.deep;
    call.epsilon = static_cast<float>(config.norm_epsilon);
    cuda::launch(cuda::norm_kernel, dim3(count), cuda::kNormThreads, 0, stream, call);
}

void CudaDecoder::State::layer(std::size_t index) {
    const Layer& weights = layers[index];
    const std::uint32_t* places = inputs.get() + options.rows_max;
    const std::uint32_t* begins = places + options.rows_max;
    const std::uint32_t* grouped = begins + 2 * std::size_t{options.rows_max};
    const std::uint32_t* tables = grouped + 2 * std::size_t{options.rows_max};
    auto* pages = reinterpret_cast<__nv_bfloat16*>(cache[index].get());
    norm(weights.before_attention, rows, nullptr, nullptr);
    run_linear(weights.qkv, normed, qkv.get(), false, rows);

    cuda::TurnCall turn;
    turn.qkv = qkv.get();
    turn.cache = pages;
    turn.places = places;
    turn.tables = tables;
    turn.table_begins = begins;
    turn.query_norm = weights.query_norm.get();
    turn.key_norm = weights.key_norm.get();
    turn.cosines = cosines.get();
    turn.sines = sines.get();
    turn.turned = config.rope.dims;
    turn.epsilon = static_cast<float>(config.norm_epsilon);
    turn.shape = shape;
    cuda::launch(cuda::turn_kernel, dim3(rows, config.heads + 2 * config.kv_heads), 32,
                 config.head_dim * sizeof(float), stream, turn);

    cuda::AttentionCall attend;
    attend.qkv = qkv.get();
    attend.cache = pages;
    attend.places = places;
    attend.tables = tables;
    attend.table_begins = begins;
    attend.tiles = reinterpret_cast<const cuda::RowTile*>(grouped);
    attend.out = reinterpret_cast<__nv_bfloat16*>(mixed.get());
    attend.parts = parts.get();
    attend.arrived = arrived.get();
    attend.window = config.windows[index];
    attend.deep_out = weights.attention_out.deep;
    attend.scale =
        static_cast<float>(std::numbers::log2e / std::sqrt(static_cast<double>(config.head_dim)));
    attend.shape = shape;
    cuda::attention(attend, tiles, splits, stream);

    // In parallel the MLP reads what attention read: its norm comes before the sum.
    const bool parallel = config.residual == Residual::kParallel;
    if (parallel) norm(weights.before_mlp, rows, nullptr, nullptr);
    run_linear(weights.attention_out, mixed, x.get(), true, rows);
    if (!parallel) norm(weights.before_mlp, rows, nullptr, nullptr);

    cuda::LinearCall up;
    up.weights = reinterpret_cast<const uint4*>(weights.up.weights.get());
    up.bias = weights.up.has_bias ? weights.up.bias.get() : nullptr;
    up.input = reinterpret_cast<const uint4*>(normed.get());
    up.activated = reinterpret_cast<__nv_bfloat16*>(inner.get());
    up.outputs = weights.up.outputs;
    up.deep = weights.up.deep;
    up.rows = rows;
    up.deep_out = weights.down.deep;
    up.curve = curve_of(config.activation);
    if (config.mlp == MlpKind::kGated) {
        cuda::linear<cuda::Then::kGated>(up, processors, stream);
    } else {
        cuda::linear<cuda::Then::kPlain>(up, processors, stream);
    }
    run_linear(weights.down, inner, x.get(), true, rows);
}

/// All kernels of a call; the inputs are there.
void CudaDecoder::State::pass(Wanted what) {
    cuda::EmbedCall embed;
    embed.table = reinterpret_cast<const __nv_bfloat16*>(embedding.get());
    embed.positions = positions.get();
    embed.tokens = inputs.get();
    embed.places = inputs.get() + options.rows_max;
    embed.out = x.get();
    embed.width = config.width;
    cuda::launch(cuda::embed_kernel, dim3(rows), 256, 0, stream, embed);
    for (std::size_t i = 0; i < layers.size(); ++i)
        layer(i);
    if (wanted == 0) return;
    const std::uint32_t* chosen = inputs.get() + 3 * std::size_t{options.rows_max};
    norm(last, wanted, chosen, what == Wanted::kHidden ? result.get() : nullptr);
    if (what == Wanted::kHidden) return;
    run_linear(head, normed_last, result.get(), false, wanted);
    if (what == Wanted::kLists) lists.launch(result.get(), wanted, stream);
}

/// Logits of a whole batch are large: room for them is made when they are asked for.
void CudaDecoder::State::make_room(Wanted what) {
    const bool more = wanted > result_rows;
    if (more) {
        result_rows = std::min<std::size_t>(2 * wanted, options.rows_max);
        const std::size_t count = result_rows * std::max(config.vocab, config.width);
        auto memory = DeviceArray<float>::make(count);
        MR_CHECK(memory.has_value());
        result = std::move(*memory);
        result_host = std::make_unique<PinnedArray<float>>(count);
    }
    const bool longer = what == Wanted::kLists && lists.make_room(result_rows);
    if (!more && !longer) return;
    for (const auto& [key, graph] : graphs)
        cudaGraphExecDestroy(graph);
    graphs.clear();
}

/// Starts a call; its result is whole when the stream is.
void CudaDecoder::State::run(std::span<const DecoderRow> batch, Wanted what,
                             std::span<const ShortlistWish> wishes) {
    MR_CHECK(batch.size() <= options.rows_max);
    fill_inputs(batch);
    make_room(what);
    if (what == Wanted::kLists) {
        MR_CHECK(wishes.size() == wanted);
        lists.order(wishes, stream);
    }
    if (rows != wanted || rows > kGraphRowsMax || what == Wanted::kHidden) {
        pass(what);
        return;
    }
    auto& graph = graphs[{rows, tiles, splits, what == Wanted::kLists ? 1U : 0U}];
    if (graph == nullptr) {
        cudaGraph_t recorded = nullptr;
        MR_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
        pass(what);
        MR_CUDA(cudaStreamEndCapture(stream, &recorded));
        MR_CUDA(cudaGraphInstantiate(&graph, recorded, 0));
        cudaGraphDestroy(recorded);
    }
    MR_CUDA(cudaGraphLaunch(graph, stream));
}

/// Numbers of the result, once all before is done.
std::span<const float> CudaDecoder::State::bring(std::size_t begin, std::size_t count) {
    if (count > 0)
        MR_CUDA(cudaMemcpyAsync(result_host->get() + begin, result.get() + begin,
                                count * sizeof(float), cudaMemcpyDeviceToHost, stream));
    MR_CUDA(cudaStreamSynchronize(stream));
    if (count == 0) return {};
    return {result_host->get() + begin, count};
}

CudaDecoder::CudaDecoder(std::unique_ptr<State> state) noexcept : state_(std::move(state)) {}
CudaDecoder::~CudaDecoder() = default;

Result<CudaDecoder::Memory> CudaDecoder::memory() {
    int devices = 0;
    if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0)
        return fail(ErrorCode::unsupported, "no CUDA device is visible");
    int major = 0;
    MR_CUDA(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0));
    if (major < 8)
        return fail(ErrorCode::unsupported, "the device is older than compute capability 8.0");
    std::size_t free_bytes = 0;
    std::size_t total_bytes = 0;
    MR_CUDA(cudaMemGetInfo(&free_bytes, &total_bytes));
    return Memory{free_bytes, total_bytes};
}

std::uint64_t CudaDecoder::page_bytes(const DecoderConfig& config) noexcept {
    const cuda::CacheShape shape{config.heads, config.kv_heads, config.head_dim};
    return std::uint64_t{config.depth} * config.kv_heads * cuda::cache_block(shape) * 2;
}

Result<std::unique_ptr<CudaDecoder>> CudaDecoder::create(const DecoderModel& model,
                                                         const Options& options,
                                                         kernels::Pool& pool) {
    TRY(memory());
    TRY(check_shape(model.config));
    auto state = std::make_unique<State>(model.config, options);
    TRY(state->allocate(model, pool));
    return std::unique_ptr<CudaDecoder>(new CudaDecoder(std::move(state)));
}

std::span<const float> CudaDecoder::logits(std::span<const DecoderRow> rows) {
    if (rows.empty()) return {};
    state_->run(rows, State::Wanted::kLogits, {});
    return state_->bring(0, std::size_t{state_->wanted} * state_->config.vocab);
}
std::span<const float> CudaDecoder::hidden(std::span<const DecoderRow> rows) {
    if (rows.empty()) return {};
    state_->run(rows, State::Wanted::kHidden, {});
    return state_->bring(0, std::size_t{state_->wanted} * state_->config.width);
}
std::span<const Shortlist> CudaDecoder::shorten(std::span<const DecoderRow> rows,
                                                std::span<const ShortlistWish> wishes) {
    if (rows.empty()) return {};
    state_->run(rows, State::Wanted::kLists, wishes);
    return state_->lists.read(state_->stream);
}
std::span<const float> CudaDecoder::row(std::size_t wanted) {
    MR_CHECK(wanted < state_->wanted);
    return state_->bring(wanted * state_->config.vocab, state_->config.vocab);
}

}  // namespace worker::model

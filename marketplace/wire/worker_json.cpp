// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/worker_json.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/message_fields.hpp"

namespace marketplace::wire {
namespace {

constexpr auto signed_receipt_fields = [](auto& v, auto& m) {
    v.object("receipt", m.receipt, receipt_fields);
    v.hex("signature", m.signature);
};
constexpr auto progress_fields = [](auto& v, auto& m) {
    v.hex("lease", m.lease);
    v.integer("sequence", m.sequence);
};
constexpr auto parties_fields = [](auto& v, auto& m) {
    v.address("buyer", m.buyer);
    v.address("provider", m.provider);
    v.address("voucher_signer", m.voucher_signer);
    v.address("worker", m.worker);
};
constexpr auto lease_hash_fields = [](auto& v, auto& m) { v.hex("lease", m); };

constexpr auto logprob_fields = [](auto& v, auto& m) {
    v.binary("bytes", m.bytes);
    v.real("logprob", m.logprob);
};
constexpr auto bias_fields = [](auto& v, auto& m) {
    v.text("bias", m.bias);
    v.integer("token", m.token);
};
/// Not an object of its own: the fields lie among those of `infer`.
constexpr auto sampling_fields = [](auto& v, auto& m) {
    v.integer("max_tokens", m.max_tokens);
    v.text("temperature", m.temperature);
    v.text("top_p", m.top_p);
    v.optional("repetition_penalty", m.repetition_penalty, {});
    v.optional("min_p", m.min_p, {});
    v.optional("presence_penalty", m.presence_penalty, {});
    v.optional("frequency_penalty", m.frequency_penalty, {});
    v.optional("top_k", m.top_k, std::uint64_t{0});
    v.integer("seed", m.seed);
    v.texts("stop", m.stop);
    v.optional_objects("logit_bias", m.logit_bias, bias_fields);
    v.optional("logprobs", m.logprobs, std::uint64_t{0});
    v.optional("choices", m.choices, std::uint64_t{1});
    v.optional("schema", m.schema, {});
};

// One list per message; the overload set is the protocol.

template <typename V, typename M>
void list_hashes(V& v, const char* name, M& hashes) {
    v.objects(name, hashes, lease_hash_fields);
}

constexpr auto fields = [](auto& v, auto& m) {
    using M = std::remove_cvref_t<decltype(m)>;
    if constexpr (std::is_same_v<M, Hello>) {
        v.integer("version", m.version);
        v.address("worker", m.worker);
        v.address("provider", m.provider);
        v.object("resource", m.resource, [](auto& w, auto& r) {
            w.text("gpu_model", r.gpu_model);
            w.integer("gpu_count", r.gpu_count);
            w.integer("vram_mib", r.vram_mib);
            w.integer("ram_mib", r.ram_mib);
            w.integer("cpu_cores", r.cpu_cores);
            w.text("region", r.region);
            w.text("runtime", r.runtime);
            w.integer("max_flops_per_step", r.max_flops_per_step);
            w.address("worker", r.worker);
        });
        v.objects("leases", m.leases, progress_fields);
        list_hashes(v, "serving", m.serving);
    } else if constexpr (std::is_same_v<M, Started> || std::is_same_v<M, WorkFinished>) {
        v.hex("lease", m.lease);
    } else if constexpr (std::is_same_v<M, Metrics>) {
        v.hex("lease", m.lease);
        v.integer("step", m.step);
        v.text("kind", m.kind);
        v.real("loss", m.loss);
        v.real("metric", m.metric);
        v.real("tokens_per_s", m.tokens_per_s);
    } else if constexpr (std::is_same_v<M, ReceiptMessage>) {
        signed_receipt_fields(v, m.receipt);
        v.integer("step", m.step);
        v.hex("checkpoint", m.checkpoint);
    } else if constexpr (std::is_same_v<M, WorkerVoucher>) {
        v.object("voucher", m.voucher, voucher_fields);
        v.hex("worker_signature", m.worker_signature);
    } else if constexpr (std::is_same_v<M, WorkFailed>) {
        v.hex("lease", m.lease);
        v.text("code", m.code);
        v.text("detail", m.detail);
    } else if constexpr (std::is_same_v<M, Serving>) {
        v.hex("lease", m.lease);
        v.text("model", m.model);
    } else if constexpr (std::is_same_v<M, Token>) {
        v.integer("request", m.request);
        v.text("text", m.text);
        v.integer("index", m.index);
        v.optional("choice", m.choice, std::uint64_t{0});
        v.optional_objects("logprobs", m.logprobs, logprob_fields);
    } else if constexpr (std::is_same_v<M, Embedding>) {
        v.integer("request", m.request);
        v.integer("index", m.index);
        v.text("vector", m.vector);
    } else if constexpr (std::is_same_v<M, CompletionDone>) {
        v.integer("request", m.request);
        v.integer("prompt_tokens", m.prompt_tokens);
        v.integer("completion_tokens", m.completion_tokens);
        v.texts("finish_reasons", m.finish_reasons);
        v.objects("receipts", m.receipts, signed_receipt_fields);
    } else if constexpr (std::is_same_v<M, CompletionRefused>) {
        v.integer("request", m.request);
        v.text("code", m.code);
        v.text("detail", m.detail);
    } else if constexpr (std::is_same_v<M, Welcome>) {
        v.integer("chain_id", m.chain_id);
        v.address("leases", m.leases);
        v.address("receipt_log", m.receipt_log);
        v.integer("market_time_ms", m.market_time_ms);
    } else if constexpr (std::is_same_v<M, Assign>) {
        v.hex("lease", m.lease);
        v.object("parties", m.parties, parties_fields);
        v.hex("ask_hash", m.ask_hash);
        v.hex("bid_hash", m.bid_hash);
        v.integer("index", m.index);
        v.unit_kind("unit_kind", m.unit_kind);
        v.decimal("price", m.price_atoms);
        v.decimal("max_units", m.max_units);
        v.text("spec", m.spec);
        v.hex("salt", m.salt);
        v.id("job", m.job);
        v.object("start", m, [](auto& w, auto& a) {
            w.decimal("step", a.start_step);
            w.hex("checkpoint", a.start_checkpoint);
        });
        v.object("receipts", m, [](auto& w, auto& a) {
            w.decimal("sequence", a.receipts_sequence);
            w.hex("previous", a.receipts_previous);
            w.decimal("cumulative_units", a.receipts_cumulative_units);
        });
    } else if constexpr (std::is_same_v<M, Ack>) {
        v.hex("lease", m.lease);
        v.integer("sequence", m.sequence);
    } else if constexpr (std::is_same_v<M, BuyerVoucher>) {
        v.object("voucher", m.voucher, voucher_fields);
        v.hex("buyer_signature", m.buyer_signature);
    } else if constexpr (std::is_same_v<M, CancelWork>) {
        v.hex("lease", m.lease);
        v.text("reason", m.reason);
    } else if constexpr (std::is_same_v<M, Infer>) {
        v.integer("request", m.request);
        v.hex("input_lease", m.input_lease);
        v.hex("output_lease", m.output_lease);
        v.text("prompt", m.prompt);
        sampling_fields(v, m.sampling);
        v.optional("messages", m.messages, {});
    } else if constexpr (std::is_same_v<M, Embed>) {
        v.integer("request", m.request);
        v.hex("input_lease", m.input_lease);
        v.hex("output_lease", m.output_lease);
        v.text("inputs", m.inputs);
        v.optional("dimensions", m.dimensions, std::uint64_t{0});
    } else if constexpr (std::is_same_v<M, HoldCompletion>) {
        v.integer("request", m.request);
        v.integer("hold", m.hold);
    } else if constexpr (std::is_same_v<M, AbortCompletion>) {
        v.integer("request", m.request);
    } else {
        static_assert(std::is_same_v<M, MarketError>);
        v.text("code", m.code);
        v.text("detail", m.detail);
    }
};

constexpr const char* kWorkerTypes[] = {"hello",   "started",   "metrics",  "receipt",
                                        "voucher", "failed",    "finished", "serving",
                                        "token",   "embedding", "done",     "refused"};
constexpr const char* kMarketTypes[] = {"welcome", "assign", "ack",  "voucher", "cancel",
                                        "infer",   "embed",  "hold", "abort",   "error"};
static_assert(std::size(kWorkerTypes) == std::variant_size_v<WorkerMessage>);
static_assert(std::size(kMarketTypes) == std::variant_size_v<MarketMessage>);

template <typename Variant>
std::string encode_as(const Variant& message, const char* const* types) {
    FieldWriter writer;
    std::visit([&writer](const auto& m) { fields(writer, m); }, message);
    writer.text("type", types[message.index()]);
    return writer.take();
}

template <typename Variant, std::size_t I = 0>
Result<Variant> decode_as(const json& document, std::string_view type, const char* const* types) {
    if constexpr (I == std::variant_size_v<Variant>) {
        return fail(ErrorCode::unsupported, "message type " + std::string(type.substr(0, 32)));
    } else {
        if (type != types[I]) return decode_as<Variant, I + 1>(document, type, types);
        using Message = std::variant_alternative_t<I, Variant>;
        Message message;
        FieldReader reader(document);
        std::string ignored;
        reader.text("type", ignored);
        fields(reader, message);
        TRY(reader.finish());
        return Variant(std::move(message));
    }
}

/// Before anything else of a hello is read: another version has other fields.
Result<void> check_version(const json& document) {
    const auto version = ledger::rpc::integer_at(document, "version");
    if (!version || *version == kWorkerProtocol) return {};
    const bool older = *version < kWorkerProtocol;
    return fail(ErrorCode::unsupported, "the worker speaks protocol " + std::to_string(*version) +
                                            ", the market " + std::to_string(kWorkerProtocol) +
                                            ": upgrade " +
                                            (older ? "millrace-worker" : "millrace-market"));
}

template <typename Variant>
Result<Variant> decode(std::string_view text, const char* const* types) {
    ledger::rpc::JsonLimits limits;
    limits.bytes = ledger::base::limits::kWsMessageBytes;
    TRY_ASSIGN(const json document, ledger::rpc::parse_json(text, limits));
    TRY_ASSIGN(const std::string type, ledger::rpc::string_at(document, "type"));
    if constexpr (std::is_same_v<Variant, WorkerMessage>)
        if (type == "hello") TRY(check_version(document));
    return decode_as<Variant>(document, type, types);
}

}  // namespace

std::uint64_t input_tokens_max(std::string_view prompt, std::string_view messages) noexcept {
    return messages.empty() ? prompt.size() + 16 : messages.size() + 1024;
}

std::uint64_t embed_tokens_max(std::string_view inputs) noexcept {
    // What separates two strings, or begins a list of numbers. Inside a string a quote is escaped,
    // so that it may be counted too often, but never too seldom.
    const std::string_view mark = inputs.starts_with("[[") ? "[" : R"(",")";
    std::uint64_t count = 1;
    for (auto at = inputs.find(mark); at != std::string_view::npos; at = inputs.find(mark, at + 1))
        ++count;
    return inputs.size() + 16 * count;
}

std::string encode(const WorkerMessage& message) {
    return encode_as(message, kWorkerTypes);
}

std::string encode(const MarketMessage& message) {
    return encode_as(message, kMarketTypes);
}

Result<WorkerMessage> decode_worker_message(std::string_view text) {
    return decode<WorkerMessage>(text, kWorkerTypes);
}

Result<MarketMessage> decode_market_message(std::string_view text) {
    return decode<MarketMessage>(text, kMarketTypes);
}

}  // namespace marketplace::wire

// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/protocol.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"
#include "worker/model/json_reader.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

namespace worker::executor {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Hash32;
using ledger::base::Result;
using model::FieldReader;
using nlohmann::json;

namespace {

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kPathMax = 4096;
constexpr std::size_t kIdMax = 128;
constexpr std::size_t kBiasesMax = 300;
constexpr std::size_t kTokenBytesMax = 4096;
constexpr std::size_t kDifferenceMax = 256;
constexpr std::array<std::string_view, 3> kStartKinds{"train", "serve", "audit"};

/// Numbers with a fraction cross as decimal strings.
std::string decimal(double value) {
    return fmt::format("{:.9g}", value);
}

Result<double> read_decimal(const FieldReader& in, std::string_view name) {
    TRY_ASSIGN(const std::string text, in.text(name, 40));
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
        return in.refuse(name, "must be a finite decimal string");
    return value;
}

ErrorCode code_from(std::string_view name) {
#define MILLRACE_MATCH(code, help) \
    if (name == #code) return ErrorCode::code;
    MILLRACE_ERROR_CODES(MILLRACE_MATCH)
#undef MILLRACE_MATCH
    return ErrorCode::worker_failed;
}

/// A line is text; what a model or a library said may not be UTF-8.
std::string dump(const json& value) {
    return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<model::JsonValue> parse_line(std::string_view line) {
    if (line.size() > kLineBytesMax) return fail(ErrorCode::too_large, "a line is too long");
    return model::JsonValue::parse(line, 8);
}

json encode_params(const model::SamplingParams& p) {
    json out{{"max_tokens", p.max_tokens},
             {"temperature", decimal(p.temperature)},
             {"top_p", decimal(p.top_p)},
             {"top_k", p.top_k},
             {"min_p", decimal(p.min_p)},
             {"presence_penalty", decimal(p.presence_penalty)},
             {"frequency_penalty", decimal(p.frequency_penalty)},
             {"repetition_penalty", decimal(p.repetition_penalty)},
             {"seed", p.seed},
             {"stop", p.stop},
             {"schema", p.schema}};
    for (const model::TokenBias& one : p.logit_bias)
        out["logit_bias"].push_back({{"token", one.token}, {"bias", decimal(one.bias)}});
    if (p.logprobs) out["logprobs"] = *p.logprobs;
    return out;
}

Result<model::SamplingParams> decode_params(const FieldReader& in) {
    TRY(in.only({"max_tokens", "temperature", "top_p", "top_k", "min_p", "presence_penalty",
                 "frequency_penalty", "repetition_penalty", "seed", "stop", "schema", "logprobs",
                 "logit_bias"}));
    model::SamplingParams p;
    TRY_ASSIGN(const auto max_tokens, in.integer("max_tokens", 0, UINT32_MAX));
    TRY_ASSIGN(const auto top_k, in.integer("top_k", 0, UINT32_MAX));
    TRY_ASSIGN(p.temperature, read_decimal(in, "temperature"));
    TRY_ASSIGN(p.top_p, read_decimal(in, "top_p"));
    TRY_ASSIGN(p.min_p, read_decimal(in, "min_p"));
    TRY_ASSIGN(p.presence_penalty, read_decimal(in, "presence_penalty"));
    TRY_ASSIGN(p.frequency_penalty, read_decimal(in, "frequency_penalty"));
    TRY_ASSIGN(p.repetition_penalty, read_decimal(in, "repetition_penalty"));
    TRY_ASSIGN(p.seed, in.integer("seed", 0, kAny));
    p.max_tokens = static_cast<std::uint32_t>(max_tokens);
    p.top_k = static_cast<std::uint32_t>(top_k);
    TRY_ASSIGN(p.schema, in.text("schema", kLineBytesMax));
    if (in.has("logprobs")) {
        TRY_ASSIGN(const auto count, in.integer("logprobs", 0, 256));
        p.logprobs = static_cast<std::uint32_t>(count);
    }
    TRY_ASSIGN(const auto stop, in.list("stop", 16));
    for (const model::JsonValue& item : stop) {
        if (item.text() == nullptr) return in.refuse("stop", "must hold strings");
        p.stop.push_back(*item.text());
    }
    TRY_ASSIGN(const auto biases, in.list("logit_bias", kBiasesMax));
    for (const model::JsonValue& item : biases) {
        const FieldReader entry(item, "logit_bias", ErrorCode::invalid_field);
        model::TokenBias one;
        TRY_ASSIGN(const auto token, entry.integer("token", 0, UINT32_MAX));
        one.token = static_cast<std::uint32_t>(token);
        TRY_ASSIGN(one.bias, read_decimal(entry, "bias"));
        p.logit_bias.push_back(one);
    }
    return p;
}

struct EventEncoder {
    json operator()(const Ready& e) const { return {{"event", "ready"}, {"step", e.step}}; }
    json operator()(const Prepared& e) const {
        return {{"event", "prepared"},
                {"examples", e.examples},
                {"cut", e.cut},
                {"dropped", e.dropped},
                {"tokens", e.tokens}};
    }
    json operator()(const Metrics& e) const {
        return {{"event", "metrics"},
                {"step", e.step},
                {"loss", decimal(e.loss)},
                {"gradient_norm", decimal(e.gradient_norm)},
                {"samples_per_s", decimal(e.samples_per_s)}};
    }
    json operator()(const Evaluated& e) const {
        return {{"event", "eval"},
                {"step", e.step},
                {"loss", decimal(e.loss)},
                {"accuracy", decimal(e.accuracy)},
                {"samples", e.samples}};
    }
    json operator()(const Segment& e) const {
        return {{"event", "segment"},
                {"step", e.step},
                {"steps", e.steps},
                {"loss", decimal(e.loss)},
                {"checkpoint", e.checkpoint.filename().string()},
                {"sha256", ledger::base::to_hex(e.sha256)},
                {"bytes", e.bytes},
                {"start_ms", e.start_ms},
                {"end_ms", e.end_ms}};
    }
    json operator()(const Audited& e) const {
        return {{"event", "audited"},
                {"verdict", std::string(verify::to_string(e.report.verdict))},
                {"steps", e.report.steps},
                {"found_hash", ledger::base::to_hex(e.report.found_hash)},
                {"distance", std::isfinite(e.report.distance) ? decimal(e.report.distance) : ""},
                {"difference", e.report.difference.substr(0, kDifferenceMax)}};
    }
    json operator()(const Token& e) const {
        json out{
            {"event", "token"}, {"id", e.id}, {"text", e.piece.text}, {"index", e.piece.index}};
        // The bytes of a token need not be text.
        for (const auto& one : e.piece.logprobs)
            out["logprobs"].push_back(
                {{"token", ledger::base::to_hex(ledger::base::as_bytes(one.token))},
                 {"logprob", decimal(one.logprob)}});
        return out;
    }
    json operator()(const Embedded& e) const {
        ledger::base::Bytes bytes;
        for (const float value : e.vector)
            for (std::uint32_t bits = std::bit_cast<std::uint32_t>(value), i = 0; i < 4; ++i)
                bytes.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
        return {{"event", "embedding"},
                {"id", e.id},
                {"index", e.index},
                {"vector", ledger::base::to_hex(bytes)}};
    }
    json operator()(const GenerationDone& e) const {
        return {{"event", "done"},
                {"id", e.id},
                {"prompt_tokens", e.prompt_tokens},
                {"completion_tokens", e.completion_tokens},
                {"finish_reason", e.finish_reason},
                {"start_ms", e.start_ms},
                {"end_ms", e.end_ms}};
    }
    json operator()(const GenerationRefused& e) const {
        return {{"event", "refused"},
                {"id", e.id},
                {"code", std::string(ledger::base::to_string(e.error.code()))},
                {"detail", e.error.detail()}};
    }
    json operator()(const Finished& e) const { return {{"event", "finished"}, {"step", e.step}}; }
    json operator()(const Failed& e) const {
        return {{"event", "error"},
                {"code", std::string(ledger::base::to_string(e.error.code()))},
                {"detail", e.error.detail()}};
    }
};

Result<Error> read_error(const FieldReader& in) {
    TRY_ASSIGN(const std::string code, in.text("code", 64));
    TRY_ASSIGN(const std::string detail, in.text("detail", 4096));
    return Error(code_from(code), detail);
}

Result<JobEvent> decode_segment(const FieldReader& in) {
    TRY(in.only(
        {"event", "step", "steps", "loss", "checkpoint", "sha256", "bytes", "start_ms", "end_ms"}));
    Segment e;
    TRY_ASSIGN(e.step, in.integer("step", 1, kAny));
    TRY_ASSIGN(e.steps, in.integer("steps", 1, e.step));
    TRY_ASSIGN(e.loss, read_decimal(in, "loss"));
    TRY_ASSIGN(const std::string name, in.text("checkpoint", 255));
    if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
        return in.refuse("checkpoint", "must be a bare file name");
    e.checkpoint = name;
    TRY_ASSIGN(const std::string hash, in.text("sha256", 66));
    TRY_ASSIGN(e.sha256, ledger::base::parse_fixed<Hash32>(hash));
    TRY_ASSIGN(e.bytes, in.integer("bytes", 1, kAny));
    TRY_ASSIGN(e.start_ms, in.integer("start_ms", 0, kAny));
    TRY_ASSIGN(e.end_ms, in.integer("end_ms", e.start_ms, kAny));
    return JobEvent(std::move(e));
}

Result<JobEvent> decode_audited(const FieldReader& in) {
    TRY(in.only({"event", "verdict", "steps", "found_hash", "distance", "difference"}));
    verify::AuditReport report;
    TRY_ASSIGN(const std::string name, in.text("verdict", 16));
    const auto verdict = verify::parse_verdict(name);
    if (!verdict) return in.refuse("verdict", "is not known");
    report.verdict = *verdict;
    TRY_ASSIGN(report.steps, in.integer("steps", 1, kAny));
    TRY_ASSIGN(const std::string hash, in.text("found_hash", 66));
    TRY_ASSIGN(report.found_hash, ledger::base::parse_fixed<Hash32>(hash));
    TRY_ASSIGN(const std::string distance, in.text("distance", 40));
    report.distance = HUGE_VAL;
    if (!distance.empty()) {
        TRY_ASSIGN(report.distance, read_decimal(in, "distance"));
    }
    TRY_ASSIGN(report.difference, in.text("difference", 3 * kDifferenceMax));
    return JobEvent(Audited{std::move(report)});
}

Result<JobEvent> decode_token(const FieldReader& in) {
    TRY(in.only({"event", "id", "text", "index", "logprobs"}));
    Token e;
    TRY_ASSIGN(e.id, in.text("id", kIdMax));
    TRY_ASSIGN(e.piece.text, in.text("text", kLineBytesMax));
    TRY_ASSIGN(const auto index, in.integer("index", 0, UINT32_MAX));
    e.piece.index = static_cast<std::uint32_t>(index);
    TRY_ASSIGN(const auto logprobs, in.list("logprobs", 256));
    for (const model::JsonValue& item : logprobs) {
        const FieldReader entry(item, "logprobs", ErrorCode::invalid_field);
        model::TokenLogprob one;
        TRY_ASSIGN(const std::string hex, entry.text("token", 2 + 2 * kTokenBytesMax));
        TRY_ASSIGN(const auto bytes, ledger::base::parse_hex(hex, kTokenBytesMax));
        one.token.assign(bytes.begin(), bytes.end());
        TRY_ASSIGN(one.logprob, read_decimal(entry, "logprob"));
        e.piece.logprobs.push_back(std::move(one));
    }
    return JobEvent(std::move(e));
}

Result<JobEvent> decode_embedding(const FieldReader& in) {
    TRY(in.only({"event", "id", "index", "vector"}));
    Embedded e;
    TRY_ASSIGN(e.id, in.text("id", kIdMax));
    TRY_ASSIGN(e.index, in.integer("index", 0, UINT32_MAX));
    TRY_ASSIGN(const std::string hex, in.text("vector", kLineBytesMax));
    TRY_ASSIGN(const auto bytes, ledger::base::parse_hex(hex, kLineBytesMax));
    if (bytes.empty() || bytes.size() % 4 != 0) return in.refuse("vector", "must be floats");
    for (std::size_t at = 0; at < bytes.size(); at += 4) {
        std::uint32_t bits = 0;
        for (std::size_t i = 4; i > 0; --i)
            bits = bits << 8U | bytes[at + i - 1];
        e.vector.push_back(std::bit_cast<float>(bits));
        if (!std::isfinite(e.vector.back())) return in.refuse("vector", "must be finite");
    }
    return JobEvent(std::move(e));
}

Result<JobEvent> decode_done(const FieldReader& in) {
    TRY(in.only({"event", "id", "prompt_tokens", "completion_tokens", "finish_reason", "start_ms",
                 "end_ms"}));
    GenerationDone e;
    TRY_ASSIGN(e.id, in.text("id", kIdMax));
    TRY_ASSIGN(e.prompt_tokens, in.integer("prompt_tokens", 0, kAny));
    TRY_ASSIGN(e.completion_tokens, in.integer("completion_tokens", 0, kAny));
    TRY_ASSIGN(e.finish_reason, in.text("finish_reason", 16));
    TRY_ASSIGN(e.start_ms, in.integer("start_ms", 0, kAny));
    TRY_ASSIGN(e.end_ms, in.integer("end_ms", e.start_ms, kAny));
    return JobEvent(std::move(e));
}

Result<JobEvent> decode_prepared(const FieldReader& in) {
    TRY(in.only({"event", "examples", "cut", "dropped", "tokens"}));
    Prepared e;
    TRY_ASSIGN(e.examples, in.integer("examples", 0, kAny));
    TRY_ASSIGN(e.cut, in.integer("cut", 0, kAny));
    TRY_ASSIGN(e.dropped, in.integer("dropped", 0, kAny));
    TRY_ASSIGN(e.tokens, in.integer("tokens", 0, kAny));
    return JobEvent(e);
}

Result<JobEvent> decode_report(const FieldReader& in, std::string_view kind) {
    if (kind == "metrics") {
        TRY(in.only({"event", "step", "loss", "gradient_norm", "samples_per_s"}));
        Metrics e;
        TRY_ASSIGN(e.step, in.integer("step", 0, kAny));
        TRY_ASSIGN(e.loss, read_decimal(in, "loss"));
        TRY_ASSIGN(e.gradient_norm, read_decimal(in, "gradient_norm"));
        TRY_ASSIGN(e.samples_per_s, read_decimal(in, "samples_per_s"));
        return JobEvent(e);
    }
    TRY(in.only({"event", "step", "loss", "accuracy", "samples"}));
    Evaluated e;
    TRY_ASSIGN(e.step, in.integer("step", 0, kAny));
    TRY_ASSIGN(e.loss, read_decimal(in, "loss"));
    TRY_ASSIGN(e.accuracy, read_decimal(in, "accuracy"));
    TRY_ASSIGN(e.samples, in.integer("samples", 0, kAny));
    return JobEvent(e);
}

}  // namespace

std::string encode_start(const ChildStart& start) {
    json out{{"kind", std::string(kStartKinds[static_cast<std::size_t>(start.kind)])},
             {"spec", start.spec_json},
             {"dir", start.job_dir.string()},
             {"text", start.files.text.string()},
             {"images", start.files.images.string()},
             {"labels", start.files.labels.string()},
             {"weights", start.weights.string()},
             {"folder", start.folder.string()},
             {"examples", start.examples.string()},
             {"validation", start.validation.string()},
             {"memory", start.memory_bytes},
             {"threads", start.runtime.threads},
             {"device", start.runtime.device},
             {"walls", start.walls ? 1 : 0}};
    if (start.files.init) out["init"] = start.files.init->string();
    if (start.files.checkpoint) out["checkpoint"] = start.files.checkpoint->string();
    if (start.stop_at_step != 0) out["stop_at_step"] = start.stop_at_step;
    if (start.kind == ChildStart::Kind::kAudit) {
        out["claimed"] = start.claimed.string();
        out["claimed_hash"] = ledger::base::to_hex(start.claimed_hash);
    }
    return dump(out);
}

Result<ChildStart> decode_start(std::string_view line) {
    TRY_ASSIGN(const auto value, parse_line(line));
    const FieldReader in(value, "start", ErrorCode::invalid_field);
    TRY(in.only({"kind", "spec", "dir", "text", "images", "labels", "weights", "folder", "examples",
                 "validation", "memory", "threads", "device", "walls", "init", "checkpoint",
                 "stop_at_step", "claimed", "claimed_hash"}));
    ChildStart start;
    TRY_ASSIGN(const std::string kind, in.text("kind", 8));
    const auto known = std::find(kStartKinds.begin(), kStartKinds.end(), kind);
    if (known == kStartKinds.end()) return in.refuse("kind", "must be train, serve or audit");
    start.kind = static_cast<ChildStart::Kind>(known - kStartKinds.begin());
    TRY_ASSIGN(start.spec_json, in.text("spec", kLineBytesMax));
    TRY_ASSIGN(start.job_dir, in.text("dir", kPathMax));
    TRY_ASSIGN(start.files.text, in.text("text", kPathMax));
    TRY_ASSIGN(start.files.images, in.text("images", kPathMax));
    TRY_ASSIGN(start.files.labels, in.text("labels", kPathMax));
    TRY_ASSIGN(start.weights, in.text("weights", kPathMax));
    TRY_ASSIGN(start.folder, in.text("folder", kPathMax));
    TRY_ASSIGN(start.examples, in.text("examples", kPathMax));
    TRY_ASSIGN(start.validation, in.text("validation", kPathMax));
    TRY_ASSIGN(start.memory_bytes, in.integer("memory", 0, kAny));
    TRY_ASSIGN(const auto threads, in.integer("threads", 1, 1024));
    TRY_ASSIGN(start.runtime.device, in.text("device", 16));
    TRY_ASSIGN(const auto walls, in.integer("walls", 0, 1));
    start.runtime.threads = static_cast<int>(threads);
    start.walls = walls == 1;
    if (in.has("stop_at_step")) {
        TRY_ASSIGN(start.stop_at_step,
                   in.integer("stop_at_step", 1, ledger::base::limits::kMaxTrainingSteps));
    }
    if (start.kind == ChildStart::Kind::kAudit) {
        TRY_ASSIGN(start.claimed, in.text("claimed", kPathMax));
        TRY_ASSIGN(const std::string hash, in.text("claimed_hash", 66));
        TRY_ASSIGN(start.claimed_hash, ledger::base::parse_fixed<Hash32>(hash));
    }
    if (in.has("init")) {
        TRY_ASSIGN(start.files.init, in.text("init", kPathMax));
    }
    if (in.has("checkpoint")) {
        TRY_ASSIGN(start.files.checkpoint, in.text("checkpoint", kPathMax));
    }
    return start;
}

std::string encode_command(const Command& command) {
    struct Encoder {
        json operator()(const Pause&) const { return {{"op", "pause"}}; }
        json operator()(const Resume&) const { return {{"op", "continue"}}; }
        json operator()(const Stop&) const { return {{"op", "stop"}}; }
        json operator()(const Abort& c) const { return {{"op", "abort"}, {"id", c.id}}; }
        json operator()(const Hold& c) const {
            const bool hold = c.pace == model::TextModel::Pace::kHold;
            return {{"op", hold ? "hold" : "release"}, {"id", c.id}};
        }
        json operator()(const EmbedRequest& c) const {
            return {{"op", "embed"},
                    {"id", c.id},
                    {"inputs", c.inputs},
                    {"prompt_tokens_max", c.prompt_tokens_max},
                    {"dimensions", c.dimensions}};
        }
        json operator()(const GenerateRequest& c) const {
            return {{"op", "generate"},
                    {"id", c.id},
                    {"prompt", c.prompt},
                    {"messages", c.messages},
                    {"prompt_tokens_max", c.prompt_tokens_max},
                    {"temperature_given", c.temperature_given ? 1 : 0},
                    {"top_p_given", c.top_p_given ? 1 : 0},
                    {"repetition_given", c.repetition_given ? 1 : 0},
                    {"params", encode_params(c.params)}};
        }
    };
    return dump(std::visit(Encoder{}, command));
}

Result<Command> decode_command(std::string_view line) {
    TRY_ASSIGN(const auto value, parse_line(line));
    const FieldReader in(value, "command", ErrorCode::invalid_field);
    TRY(in.only({"op", "id", "inputs", "dimensions", "prompt", "messages", "prompt_tokens_max",
                 "temperature_given", "top_p_given", "repetition_given", "params"}));
    TRY_ASSIGN(const std::string op, in.text("op", 16));
    if (op == "pause") return Command(Pause{});
    if (op == "continue") return Command(Resume{});
    if (op == "stop") return Command(Stop{});
    const bool known =
        op == "abort" || op == "hold" || op == "release" || op == "embed" || op == "generate";
    if (!known) return in.refuse("op", "is not known");
    TRY_ASSIGN(const std::string id, in.text("id", kIdMax));
    if (op == "abort") return Command(Abort{id});
    if (op == "hold") return Command(Hold{id, model::TextModel::Pace::kHold});
    if (op == "release") return Command(Hold{id, model::TextModel::Pace::kGo});
    if (op == "embed") {
        EmbedRequest embed;
        embed.id = id;
        TRY_ASSIGN(embed.inputs, in.text("inputs", kLineBytesMax));
        TRY_ASSIGN(embed.prompt_tokens_max, in.integer("prompt_tokens_max", 0, kAny));
        TRY_ASSIGN(embed.dimensions, in.integer("dimensions", 0, kAny));
        return Command(std::move(embed));
    }
    GenerateRequest request;
    request.id = id;
    TRY_ASSIGN(request.prompt, in.text("prompt", kLineBytesMax));
    TRY_ASSIGN(request.messages, in.text("messages", kLineBytesMax));
    TRY_ASSIGN(request.prompt_tokens_max, in.integer("prompt_tokens_max", 0, kAny));
    TRY_ASSIGN(const auto temperature_given, in.integer("temperature_given", 0, 1));
    TRY_ASSIGN(const auto top_p_given, in.integer("top_p_given", 0, 1));
    TRY_ASSIGN(const auto repetition_given, in.integer("repetition_given", 0, 1));
    request.repetition_given = repetition_given == 1;
    request.temperature_given = temperature_given == 1;
    request.top_p_given = top_p_given == 1;
    TRY_ASSIGN(const FieldReader params, in.object("params"));
    TRY_ASSIGN(request.params, decode_params(params));
    return Command(std::move(request));
}

std::string encode_event(const JobEvent& event) {
    return dump(std::visit(EventEncoder{}, event));
}

Result<JobEvent> decode_event(std::string_view line) {
    TRY_ASSIGN(const auto value, parse_line(line));
    const FieldReader in(value, "event", ErrorCode::invalid_field);
    TRY_ASSIGN(const std::string kind, in.text("event", 16));
    if (kind == "metrics" || kind == "eval") return decode_report(in, kind);
    if (kind == "segment") return decode_segment(in);
    if (kind == "audited") return decode_audited(in);
    if (kind == "prepared") return decode_prepared(in);
    if (kind == "token") return decode_token(in);
    if (kind == "embedding") return decode_embedding(in);
    if (kind == "done") return decode_done(in);
    if (kind == "ready" || kind == "finished") {
        TRY(in.only({"event", "step"}));
        TRY_ASSIGN(const auto step, in.integer("step", 0, kAny));
        if (kind == "ready") return JobEvent(Ready{step});
        return JobEvent(Finished{step});
    }
    if (kind == "refused") {
        TRY(in.only({"event", "id", "code", "detail"}));
        TRY_ASSIGN(std::string id, in.text("id", kIdMax));
        TRY_ASSIGN(Error error, read_error(in));
        return JobEvent(GenerationRefused{std::move(id), std::move(error)});
    }
    if (kind == "error") {
        TRY(in.only({"event", "code", "detail"}));
        TRY_ASSIGN(Error error, read_error(in));
        return JobEvent(Failed{std::move(error)});
    }
    return in.refuse("event", "is not known");
}

}  // namespace worker::executor

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "marketplace/api/account_history.hpp"
#include "marketplace/api/context.hpp"
#include "marketplace/api/siwe.hpp"
#include "marketplace/engine/engine.hpp"
#include "marketplace/http/server.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/order_json.hpp"
#include "tests/support/http_test_client.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace api_test {

using namespace marketplace;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::base::to_hex;
using ledger::crypto::PrivateKey;
using nlohmann::json;
using test_support::HttpAnswer;
using test_support::HttpTestClient;

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return time_ms.load(); }
    std::atomic<ledger::base::TimeMs> time_ms{1'800'000'000'000};
};

/// Real market data behind a lock.
class FakeMarket final : public api::MarketDataPort {
 public:
    void read(const std::function<void(const engine::MarketData&)>& use) const override {
        const std::lock_guard lock(mutex_);
        use(data_);
    }
    void add(const engine::Record& record) {
        const std::lock_guard lock(mutex_);
        data_.add(record);
    }

 private:
    mutable std::mutex mutex_;
    engine::MarketData data_;
};

/// The real engine behind a lock instead of a thread; its records go to the market data and to the
/// accounts' history.
class FakeEngine final : public api::EnginePort {
 public:
    FakeEngine(engine::EngineConfig config, const FakeClock& clock, FakeMarket& market,
               api::AccountHistory& history)
        : engine_(std::move(config)), clock_(clock), market_(market), history_(history) {}
    void submit(domain::Command command,
                std::function<void(Result<std::vector<domain::Event>>)> done) override {
        const std::lock_guard lock(mutex_);
        if (full) return done(fail(ErrorCode::queue_full));
        done(apply_one(command));
    }
    bool query(std::function<void(const engine::Engine&)> read) override {
        const std::lock_guard lock(mutex_);
        if (full) return false;
        read(engine_);
        return true;
    }
    void apply(const domain::Command& command) {
        const std::lock_guard lock(mutex_);
        const auto events = apply_one(command);
        REQUIRE(events.has_value());
    }
    std::atomic<bool> full{false};

 private:
    Result<std::vector<domain::Event>> apply_one(const domain::Command& command) {
        auto events = engine_.apply(command, clock_.now_ms());
        if (!events || events->empty()) return events;
        const engine::Record record{sequence_++, clock_.now_ms(), {}, command, *events, {}};
        market_.add(record);
        history_.add(record, engine_);
        return events;
    }

    std::recursive_mutex mutex_;
    engine::Engine engine_;
    const FakeClock& clock_;
    FakeMarket& market_;
    api::AccountHistory& history_;
    std::uint64_t sequence_ = 0;
};

class FakeCatalog final : public api::CatalogPort {
 public:
    Result<void> put_model(const api::PublishedModel& model) override {
        const std::lock_guard lock(mutex_);
        const auto found = models_.find(model.name);
        if (found != models_.end() && found->second.owner != model.owner)
            return fail(ErrorCode::exists_with_different_body);
        models_[model.name] = model;
        return {};
    }
    std::optional<api::PublishedModel> model(const std::string& name) const override {
        const std::lock_guard lock(mutex_);
        const auto found = models_.find(name);
        return found == models_.end() ? std::nullopt : std::optional(found->second);
    }
    std::vector<api::PublishedModel> models() const override {
        const std::lock_guard lock(mutex_);
        std::vector<api::PublishedModel> out;
        for (const auto& [name, model] : models_)
            out.push_back(model);
        return out;
    }
    Result<void> put_job_spec(const domain::Hash32& hash, std::string bytes) override {
        const std::lock_guard lock(mutex_);
        specs_[hash] = std::move(bytes);
        return {};
    }
    std::optional<std::string> job_spec(const domain::Hash32& hash) const override {
        const std::lock_guard lock(mutex_);
        const auto found = specs_.find(hash);
        return found == specs_.end() ? std::nullopt : std::optional(found->second);
    }
    Result<void> put_api_key(const api::ApiKeyRow& key) override {
        const std::lock_guard lock(mutex_);
        keys_.push_back(key);
        return {};
    }
    Result<void> revoke_api_key(const std::string& id, const domain::Address& owner) override {
        const std::lock_guard lock(mutex_);
        for (auto& key : keys_) {
            if (key.id != id || key.owner != owner) continue;
            key.revoked = true;
            return {};
        }
        return fail(ErrorCode::not_found);
    }
    std::optional<api::ApiKeyRow> api_key(const domain::Hash32& hash) const override {
        const std::lock_guard lock(mutex_);
        for (const auto& key : keys_)
            if (key.key_hash == hash) return key;
        return std::nullopt;
    }
    Result<void> spend_api_key(const std::string& id, std::uint64_t atoms) override {
        const std::lock_guard lock(mutex_);
        for (auto& key : keys_) {
            if (key.id != id) continue;
            key.spent_atoms += atoms;
            return {};
        }
        return fail(ErrorCode::not_found);
    }
    std::vector<api::ApiKeyRow> api_keys(const domain::Address& owner) const override {
        const std::lock_guard lock(mutex_);
        std::vector<api::ApiKeyRow> out;
        for (const auto& key : keys_)
            if (key.owner == owner) out.push_back(key);
        return out;
    }
    Result<void> put_job_key(const domain::Hash32& lease, domain::Bytes wrapped) override {
        const std::lock_guard lock(mutex_);
        job_keys_[lease] = std::move(wrapped);
        return {};
    }
    std::optional<domain::Bytes> job_key(const domain::Hash32& lease) const override {
        const std::lock_guard lock(mutex_);
        const auto found = job_keys_.find(lease);
        return found == job_keys_.end() ? std::nullopt : std::optional(found->second);
    }
    Result<void> put_file(const api::FileRow& file) override {
        const std::lock_guard lock(mutex_);
        files_.push_back(file);
        return {};
    }
    Result<void> delete_file(const std::string& id, const domain::Address& owner) override {
        const std::lock_guard lock(mutex_);
        const auto gone = std::erase_if(
            files_, [&](const auto& file) { return file.id == id && file.owner == owner; });
        return gone > 0 ? Result<void>() : fail(ErrorCode::not_found);
    }
    std::optional<api::FileRow> file(const std::string& id,
                                     const domain::Address& owner) const override {
        for (const api::FileRow& file : files(owner))
            if (file.id == id) return file;
        return std::nullopt;
    }
    std::vector<api::FileRow> files(const domain::Address& owner) const override {
        const std::lock_guard lock(mutex_);
        std::vector<api::FileRow> out;
        for (const api::FileRow& file : files_)
            if (file.owner == owner) out.push_back(file);
        return out;
    }

 private:
    mutable std::mutex mutex_;
    std::map<std::string, api::PublishedModel> models_;
    std::map<domain::Hash32, std::string> specs_;
    std::map<domain::Hash32, domain::Bytes> job_keys_;
    std::vector<api::FileRow> files_;
    std::vector<api::ApiKeyRow> keys_;
};

/// Says of each account what the test tells it to.
class FakeChain final : public api::ChainPort {
 public:
    Result<bool> accepts_signature(const domain::Address& account, const domain::Hash32&,
                                   ledger::base::ByteView signature) override {
        ++questions;
        if (away) return fail(ErrorCode::chain_unreachable);
        return account == wallet && ledger::base::Bytes(signature.begin(), signature.end()) == good;
    }
    Result<std::uint64_t> delegation_nonce(const domain::Address&) override {
        ++questions;
        if (away) return fail(ErrorCode::chain_unreachable);
        return nonce.load();
    }
    domain::Address wallet;
    ledger::base::Bytes good{1, 2, 3};
    std::atomic<bool> away{false};
    std::atomic<std::uint64_t> nonce{0};
    std::atomic<int> questions{0};
};

class FakeLog final : public api::LogPort {
 public:
    std::uint64_t size() const override { return entries.size(); }
    std::optional<Head> signed_head() const override { return head; }
    std::vector<domain::Bytes> records(std::uint64_t first, std::size_t limit) const override {
        std::vector<domain::Bytes> out;
        for (std::size_t i = first; i < entries.size() && out.size() < limit; ++i)
            out.push_back(entries[i]);
        return out;
    }
    Result<std::vector<domain::Hash32>> inclusion_proof(std::uint64_t index,
                                                        std::uint64_t tree) const override {
        if (index >= tree || tree > entries.size()) return fail(ErrorCode::out_of_range);
        return std::vector<domain::Hash32>{domain::Hash32()};
    }
    Result<std::vector<domain::Hash32>> consistency_proof(std::uint64_t first,
                                                          std::uint64_t second) const override {
        if (first > second || second > entries.size()) return fail(ErrorCode::out_of_range);
        return std::vector<domain::Hash32>{};
    }
    std::optional<domain::Address> witness() const override { return std::nullopt; }
    Result<void> cosign(const ledger::eth::TreeHead&, const domain::Signature&) override {
        return fail(ErrorCode::unsupported, "this market has no witness");
    }
    std::vector<domain::Bytes> entries;
    std::optional<Head> head;
};

class FakeSettlement final : public api::SettlementPort {
 public:
    std::string status() const override { return "ok"; }
    std::vector<api::SettlementRow> settlements(std::uint64_t after,
                                                std::size_t limit) const override {
        std::vector<api::SettlementRow> out;
        for (const auto& row : rows)
            if (row.id > after && out.size() < limit) out.push_back(row);
        return out;
    }
    std::vector<api::SettlementRow> rows;
};

class FakeRecords final : public api::JobRecordsPort {
 public:
    std::vector<api::JobRecord> after(const domain::JobId&, std::uint64_t after,
                                      std::size_t limit) const override {
        const std::lock_guard lock(mutex_);
        std::vector<api::JobRecord> out;
        for (const auto& record : records_)
            if (record.sequence > after && out.size() < limit) out.push_back(record);
        return out;
    }
    void add(std::string kind, std::string data) {
        const std::lock_guard lock(mutex_);
        api::JobRecord record;
        record.sequence = records_.size() + 1;
        record.kind = std::move(kind);
        record.data = std::move(data);
        records_.push_back(std::move(record));
    }

 private:
    mutable std::mutex mutex_;
    std::vector<api::JobRecord> records_;
};

/// Says what the test tells it to, from its own thread.
class FakeInference final : public api::InferencePort {
 public:
    ~FakeInference() override {
        for (auto& thread : threads_)
            thread.join();
    }
    std::uint64_t start(api::InferenceRequest request, OnToken on_token, OnDone on_done) override {
        const std::lock_guard lock(mutex_);
        last = std::move(request);
        threads_.emplace_back([this, budget = last.budget, on_token = std::move(on_token),
                               on_done = std::move(on_done)] {
            const std::uint64_t granted = budget ? budget->hold(worst_case) : worst_case;
            if (granted == 0) return on_done(fail(ErrorCode::delegation_cap_exceeded));
            marketplace::wire::Token piece;
            for (const std::string& token : tokens)
                for (piece.choice = 0; piece.choice < last.sampling.choices; ++piece.choice) {
                    piece.text = token;
                    if (last.sampling.logprobs > 0) piece.logprobs = {{token, -0.5}};
                    if (last.sampling.logprobs > 1) piece.logprobs.push_back({"\xf0\x9f", -1.5});
                    on_token(piece);
                }
            if (endless)
                while (!aborted) {
                    if (held) {
                        std::this_thread::yield();
                        continue;
                    }
                    piece.choice = 0;
                    piece.text = "more ";
                    on_token(piece);
                    std::this_thread::yield();
                }
            if (failure) return on_done(fail(*failure, "the worker went away"));
            api::InferenceDone done;
            done.prompt_tokens = 5;
            if (last.embed.empty()) {
                done.completion_tokens = tokens.size() * last.sampling.choices;
                done.finish_reasons.assign(last.sampling.choices, "stop");
            }
            done.vectors.assign(last.embed_count, "AACAPwAAAMA=");  // 1, -2
            done.cost_atoms = std::min<std::uint64_t>(42, granted);
            done.receipts = {"0xabc"};
            if (aborted) done.finish_reasons.assign(last.sampling.choices, "cancelled");
            if (granted < worst_case) {
                done.finish_reasons.assign(last.sampling.choices, "length");
                done.cut_by_budget = true;
            }
            if (budget) budget->settle(done.cost_atoms);
            on_done(done);
        });
        return 7;
    }
    void abort(std::uint64_t) override { aborted = true; }
    void pace(std::uint64_t, Pace pace) override { held = pace == Pace::kHold; }

    std::vector<std::string> tokens{"Call ", "me ", "Ishmael"};
    std::optional<ErrorCode> failure;
    bool endless = false;
    std::uint64_t worst_case = 100;
    std::atomic<bool> aborted{false};
    std::atomic<bool> held{false};
    api::InferenceRequest last;

 private:
    std::mutex mutex_;
    std::vector<std::thread> threads_;
};

inline const ledger::eth::Domain& test_domain() {
    static const ledger::eth::Domain domain{
        31337, *ledger::crypto::parse_address("0x00000000000000000000000000000000000000aa")};
    return domain;
}

inline engine::EngineConfig test_engine() {
    engine::EngineConfig config;
    config.domain = test_domain();
    config.operator_address =
        *ledger::crypto::parse_address("0x00000000000000000000000000000000000000bb");
    return config;
}

/// A whole API on a real socket.
struct Fixture {
    explicit Fixture(api::ApiOptions options = {}, api::BlobLimits quota = 1'000'000)
        : folder(
              std::filesystem::temp_directory_path() /
              ("millrace_api_" + std::to_string(::getpid()) + "_" + std::to_string(next_folder()))),
          blobs(std::move(*api::BlobStore::open(folder, quota, clock))),
          uploads(std::move(*api::BlobUploads::open(*blobs))),
          auth(auth_options(), catalog, clock),
          context{engine,  catalog, log,    settlement,    inference,
                  records, market,  chain,  *blobs,        *uploads,
                  auth,    clock,   info(), test_domain(), std::move(options)} {
        context.account_history = &history;
        http::Router router;
        api::register_routes(router, context);
        http::ServerOptions server_options;
        server_options.heartbeat = std::chrono::milliseconds(200);
        server = std::make_unique<http::Server>(server_options, std::move(router));
        const auto started = server->start();
        REQUIRE(started.has_value());
    }
    ~Fixture() {
        server.reset();
        std::error_code ec;
        std::filesystem::remove_all(folder, ec);
    }

    HttpTestClient client() { return HttpTestClient(server->port()); }
    json get(const std::string& target, int status = 200) {
        auto answer = client().request("GET", target);
        CHECK_MESSAGE(answer.status == status, target << ": " << answer.body);
        return json::parse(answer.body, nullptr, false);
    }
    json post(const std::string& target, const std::string& body, int status,
              const std::string& headers = {}) {
        auto answer = client().request("POST", target, body, headers);
        CHECK_MESSAGE(answer.status == status, target << ": " << answer.body);
        return json::parse(answer.body, nullptr, false);
    }

    [[nodiscard]] std::string host() const { return fmt::format("127.0.0.1:{}", server->port()); }
    [[nodiscard]] std::string siwe_text(const domain::Address& account, const std::string& nonce,
                                        const std::string& host_name,
                                        std::uint64_t chain_id = 31337) const {
        return fmt::format(
            "{0} wants you to sign in with your Ethereum account:\n{1}\n\nSign in.\n\n"
            "URI: http://{0}\nVersion: 1\nChain ID: {2}\nNonce: {3}\nIssued At: {4}\n"
            "Expiration Time: {5}",
            host_name, ledger::crypto::to_checksum(account), chain_id, nonce,
            api::to_rfc3339(clock.now_ms()), api::to_rfc3339(clock.now_ms() + 60'000));
    }
    json sign_in(const PrivateKey& key, const std::string& text, int status) {
        const json body{{"message", text},
                        {"signature", to_hex(key.sign(ledger::crypto::personal_digest(text)))}};
        auto answer = client().request("POST", "/v1/auth/siwe", body.dump());
        CHECK_MESSAGE(answer.status == status, answer.body);
        return json::parse(answer.body);
    }
    /// "Authorization: Bearer …\r\n"; signs in by the socket's own Host.
    std::string bearer(const PrivateKey& key) {
        const std::string nonce = get("/v1/auth/nonce")["nonce"];
        const json session = sign_in_as_host(key, nonce);
        return "Authorization: Bearer " + session["token"].get<std::string>() + "\r\n";
    }
    json sign_in_as_host(const PrivateKey& key, const std::string& nonce) {
        // HttpTestClient sends "Host: localhost".
        return sign_in(key, siwe_text(key.address(), nonce, "localhost"), 200);
    }

    [[nodiscard]] std::uint64_t now_s() const { return clock.now_ms() / 1000; }

    static std::uint64_t next_folder() {
        static std::atomic<std::uint64_t> counter{0};
        return counter++;
    }
    static api::AuthOptions auth_options() {
        api::AuthOptions options;
        options.chain_id = 31337;
        options.domains = {"market.example"};
        return options;
    }
    static api::MarketInfo info() {
        api::MarketInfo out;
        out.version = "0.1.0";
        out.deployment_json = R"({"chain_id":31337})";
        out.rules = test_engine();
        out.delegate_address.data()[19] = 0xde;
        return out;
    }

    FakeClock clock;
    FakeMarket market;
    api::AccountHistory history;
    FakeEngine engine{test_engine(), clock, market, history};
    FakeCatalog catalog;
    FakeLog log;
    FakeSettlement settlement;
    FakeRecords records;
    FakeInference inference;
    FakeChain chain;
    std::filesystem::path folder;
    std::unique_ptr<api::BlobStore> blobs;
    std::unique_ptr<api::BlobUploads> uploads;
    api::Auth auth;
    api::Context context;
    std::unique_ptr<http::Server> server;
};

inline std::string code_of(const json& problem) {
    return problem.is_object() && problem.contains("code") ? problem["code"].get<std::string>()
                                                           : problem.dump();
}

inline domain::Resource test_resource(const domain::Address& worker) {
    domain::Resource resource;
    resource.gpu_model = "cpu";
    resource.gpu_count = 1;
    resource.vram_mib = 4096;
    resource.ram_mib = 4096;
    resource.cpu_cores = 2;
    resource.region = "local";
    resource.runtime = "libtorch-1.13.1-cpu";
    resource.max_flops_per_step = 1'000'000'000'000;
    resource.worker = worker;
    resource.gflop_per_s = 120;
    resource.memory_mb_per_s = 45'000;
    return resource;
}

inline domain::PostAsk test_ask(const Fixture& fixture, const PrivateKey& provider,
                                const domain::Address& worker) {
    domain::PostAsk out;
    out.resource = test_resource(worker);
    out.ask.provider = provider.address();
    out.ask.resource_hash = wire::document_hash(wire::resource_document(out.resource));
    out.ask.unit_kind = ledger::eth::UnitKind::kTrainingStep;
    out.ask.price_atoms = 100;
    out.ask.min_units = 1;
    out.ask.max_units = 1'000'000;
    out.ask.order_class = ledger::eth::OrderClass::kStanding;
    out.ask.earliest_s = fixture.now_s() - 10;
    out.ask.expiry_s = fixture.now_s() + 86'400;
    out.ask.volume_units = 10'000'000;
    out.ask.salt = ledger::base::sha256(ledger::base::as_bytes("salt"));
    return out;
}

inline std::string signed_ask(domain::PostAsk ask, const PrivateKey& key,
                              const ledger::eth::Domain& domain = test_domain()) {
    ask.signature = key.sign(ledger::eth::digest(domain, ask.ask));
    return wire::post_ask_json(ask);
}

inline std::string train_spec(const std::string& blob) {
    const json spec{{"version", 1},
                    {"kind", "train"},
                    {"model",
                     {{"arch", "gpt"},
                      {"vocab", 256},
                      {"width", 64},
                      {"depth", 2},
                      {"heads", 2},
                      {"context", 64}}},
                    {"data", {{"format", "text"}, {"blob", blob}}},
                    {"holdout_bp", 500},
                    {"batch", 4},
                    {"steps", 100},
                    {"segment_steps", 25},
                    {"eval_batches", 2},
                    {"learning_rate", "0.001"},
                    {"warmup_steps", 10},
                    {"weight_decay", "0.01"},
                    {"seed", 7},
                    {"precision", "fp32"},
                    {"numeric_class", "D1"},
                    {"flops_per_step", 1000}};
    return spec.dump();
}

inline std::string serve_spec(const std::string& blob, const std::string& name) {
    const json spec{{"version", 1},
                    {"kind", "infer.serve"},
                    {"model",
                     {{"arch", "gpt"},
                      {"vocab", 256},
                      {"width", 64},
                      {"depth", 2},
                      {"heads", 2},
                      {"context", 64}}},
                    {"weights", blob},
                    {"tokenizer", "bytes"},
                    {"name", name}};
    return spec.dump();
}

inline wire::PostJobBody test_job(const Fixture& fixture, const PrivateKey& buyer,
                                  const std::string& spec, const std::string& id_digits) {
    wire::PostJobBody body;
    body.spec = spec;
    body.command.id = *domain::JobId::parse("job_" + id_digits);
    domain::BidLeg leg;
    leg.constraints.min_gpu_count = 1;
    leg.bid.buyer = buyer.address();
    leg.bid.job_spec_hash = wire::document_hash(spec);
    leg.bid.unit_kind = ledger::eth::UnitKind::kTrainingStep;
    leg.bid.price_ceiling_atoms = 200;
    leg.bid.max_amount_atoms = 1'000'000;
    leg.bid.constraints_hash = wire::document_hash(wire::constraints_document(leg.constraints));
    leg.bid.earliest_s = fixture.now_s() - 10;
    leg.bid.deadline_s = fixture.now_s() + 7200;
    leg.bid.expiry_s = fixture.now_s() + 3600;
    leg.bid.volume_units = 100;
    leg.bid.salt = ledger::base::sha256(ledger::base::as_bytes(id_digits));
    leg.signature = buyer.sign(ledger::eth::digest(test_domain(), leg.bid));
    body.command.legs.push_back(leg);
    return body;
}

}  // namespace api_test

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/application.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/checked_chain.hpp"
#include "ledger/settlement/escrow_abi.hpp"
#include "ledger/settlement/permit2_abi.hpp"
#include "marketplace/api/account_history.hpp"
#include "marketplace/api/auth.hpp"
#include "marketplace/api/blob_store.hpp"
#include "marketplace/api/console_files.hpp"
#include "marketplace/api/context.hpp"
#include "marketplace/app/blob_collector.hpp"
#include "marketplace/app/chain_questions.hpp"
#include "marketplace/app/engine_thread.hpp"
#include "marketplace/app/inference_router.hpp"
#include "marketplace/app/job_records.hpp"
#include "marketplace/app/log_format.hpp"
#include "marketplace/app/market_feed.hpp"
#include "marketplace/app/public_log.hpp"
#include "marketplace/app/read_store.hpp"
#include "marketplace/app/restart.hpp"
#include "marketplace/app/settlement_loop.hpp"
#include "marketplace/app/snapshot_maker.hpp"
#include "marketplace/app/webhook_post.hpp"
#include "marketplace/app/webhook_sender.hpp"
#include "marketplace/app/worker_gateway.hpp"
#include "marketplace/http/server.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

namespace marketplace::app {
namespace {

namespace limits = ledger::base::limits;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using ledger::settlement::Deployment;
using storage::CatalogStore;
using storage::Database;

constexpr const char* kVersion = "0.1.0";
constexpr std::uint64_t kDevelopmentChain = 31337;
constexpr domain::TimeMs kEngineTickMs = 1000;
constexpr std::uint64_t kHistoryRecords = 8192;
constexpr std::chrono::seconds kStopDeadline{5};
constexpr std::chrono::minutes kCollectBlobs{1};

/// One process per data directory: two writers would each sign with the other's nonces.
class DirectoryLock {
 public:
    static Result<std::unique_ptr<DirectoryLock>> take(const std::filesystem::path& directory) {
        std::error_code error;
        std::filesystem::create_directories(directory, error);
        const int fd = ::open((directory / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return fail(ErrorCode::io_error, "cannot write in data_dir");
        std::unique_ptr<DirectoryLock> lock(new DirectoryLock(fd));
        if (::flock(fd, LOCK_EX | LOCK_NB) != 0)
            return fail(ErrorCode::config_invalid, "another market runs on this data_dir");
        return lock;
    }
    ~DirectoryLock() { ::close(fd_); }
    DirectoryLock(const DirectoryLock&) = delete;
    DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
    explicit DirectoryLock(int fd) : fd_(fd) {}
    int fd_;
};

/// A journal belongs to one deployment for ever: its signatures are valid nowhere else.
Result<void> check_identity(Database& database, const Deployment& deployment) {
    ledger::base::Bytes identity;
    ledger::base::append(identity, ledger::base::as_bytes(std::to_string(deployment.chain_id)));
    ledger::base::append(identity, deployment.leases.span());
    CatalogStore store(database);
    TRY_ASSIGN(const auto stored, store.setting("deployment"));
    if (!stored) return store.put_setting("deployment", identity);
    if (*stored != identity)
        return fail(ErrorCode::config_invalid, "data_dir belongs to another deployment");
    return {};
}

Result<ledger::base::Bytes> salt_secret(Database& database) {
    CatalogStore store(database);
    TRY_ASSIGN(const auto stored, store.setting("salt_secret"));
    if (stored) return *stored;
    ledger::base::Bytes fresh = ledger::crypto::random_bytes(32);
    TRY(store.put_setting("salt_secret", fresh));
    return fresh;
}

struct SignerKeys {
    domain::Address delegate;
};

Result<SignerKeys> check_signer(const ledger::signer::SignerClient& signer,
                                const Deployment& deployment) {
    TRY_ASSIGN(const std::vector<domain::Address> addresses, signer.addresses());
    SignerKeys out;
    bool has_operator = false;
    for (const domain::Address& address : addresses) {
        if (address == deployment.market_operator)
            has_operator = true;
        else if (out.delegate.is_zero())
            out.delegate = address;
    }
    if (!has_operator)
        return fail(ErrorCode::config_invalid, "the signer does not hold the operator's key");
    if (out.delegate.is_zero()) out.delegate = deployment.market_operator;
    return out;
}

Result<void> check_chain(ledger::rpc::Chain& chain, const Deployment& deployment) {
    TRY_ASSIGN(const std::uint64_t chain_id, chain.chain_id());
    if (chain_id != deployment.chain_id)
        return fail(ErrorCode::chain_mismatch, "the node serves chain " + std::to_string(chain_id) +
                                                   ", the deployment is on chain " +
                                                   std::to_string(deployment.chain_id));
    TRY_ASSIGN(const domain::Bytes code,
               chain.code(deployment.leases, ledger::rpc::BlockTag::Name::kLatest));
    if (code.empty())
        return fail(ErrorCode::chain_mismatch,
                    "the node has no contract at the deployment's address");
    return {};
}

Result<std::string> read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    if (!in) return fail(ErrorCode::config_invalid, "cannot read " + path.filename().string());
    return text;
}

/// Where payments up to an amount go through; none when that does not stand on this chain.
Result<std::optional<api::UptoTerms>> find_upto(ledger::rpc::Chain& chain,
                                                const Deployment& deployment,
                                                const Config& config) {
    if (config.x402_unpaid_calls == 0) return std::nullopt;
    const auto stands = ledger::settlement::check_upto_contracts(
        chain, config.x402_permit2, config.x402_proxy, deployment.chain_id);
    if (stands)
        return api::UptoTerms{config.x402_permit2, config.x402_proxy, deployment.market_operator};
    if (stands.error().code() != ErrorCode::chain_mismatch)
        return tl::make_unexpected(stands.error());
    spdlog::warn("x402 by \"upto\" is not offered, by \"exact\" it is: {}",
                 stands.error().detail());
    return std::nullopt;
}

/// What callers without an account pay with: the token must agree with the settings, or what they
/// sign would be worth nothing.
Result<std::unique_ptr<PaymentDesk>> make_payment_desk(ledger::rpc::Chain& chain,
                                                       const Deployment& deployment,
                                                       const Config& config, ReadStore& reads) {
    if (config.x402_account.is_zero()) return std::unique_ptr<PaymentDesk>();
    api::PaymentTerms terms;
    terms.chain_id = deployment.chain_id;
    terms.token = deployment.token;
    terms.token_name = config.x402_token_name;
    terms.token_version = config.x402_token_version;
    terms.pay_to = config.x402_account;
    terms.least_atoms = config.x402_least_atoms;
    TRY_ASSIGN(terms.units_per_atom, ledger::settlement::read_scale(chain, deployment.escrow));
    TRY_ASSIGN(const domain::Hash32 separator,
               ledger::settlement::read_domain_separator(chain, deployment.token));
    if (separator != ledger::eth::token_separator(terms.token_name, terms.token_version,
                                                  terms.chain_id, terms.token))
        return fail(ErrorCode::config_invalid,
                    "x402_token_name and x402_token_version are not the token's");
    TRY_ASSIGN(terms.upto, find_upto(chain, deployment, config));
    return std::make_unique<PaymentDesk>(std::move(terms), reads);
}

engine::EngineConfig engine_config(const Config& config, const Deployment& deployment) {
    engine::EngineConfig out;
    out.domain = deployment.leases_domain();
    out.operator_address = deployment.market_operator;
    out.max_failovers = config.max_failovers;
    out.voucher_period_atoms = config.voucher_period_atoms;
    out.batch_period_ms = config.batch_period_ms;
    return out;
}

}  // namespace

/// Members in order of construction; destroyed in reverse.
class Application::Parts {
 public:
    Parts(Config settings, Deployment contracts)
        : config(std::move(settings)),
          deployment(contracts),
          signer(config.signer_socket),
          settlement_chain(ledger::rpc::dial(config.rpc_urls), clock, chain_options("settlement")),
          gateway_chain(ledger::rpc::dial(config.rpc_urls), clock, chain_options("gateway")),
          account_chain(ledger::rpc::dial(config.rpc_urls), clock, chain_options("accounts")),
          questions(account_chain, deployment.leases) {}

    Result<void> start() {
        TRY(check_chain(settlement_chain, deployment));
        TRY_ASSIGN(const SignerKeys keys, check_signer(signer, deployment));
        TRY(open_storage());
        TRY(load_engine());
        TRY(build_services(keys));
        engine->start();
        gateway->start();
        TRY(settlement->start());
        TRY(webhooks->start());
        collector->start(kCollectBlobs);
        return server->start();
    }

    void stop() {
        if (server) server->stop(kStopDeadline);
        if (gateway) gateway->stop();
        if (settlement) settlement->stop();
        if (webhooks) webhooks->stop();
        if (maker) maker->stop();
        if (collector) collector->stop();
        if (engine) engine->stop();
        if (!maker) return;
        const auto kept = keep_snapshot(folds(), *snapshots);
        if (!kept) spdlog::warn("no snapshot: {}", kept.error().message());
    }

    void tick() {
        gateway->tick();
        inference->tick();
        const domain::TimeMs now = clock.now_ms();
        if (now < last_tick_ms + kEngineTickMs) return;
        last_tick_ms = now;
        engine->submit(domain::Tick{}, [](const auto&) {});
    }

    Config config;
    Deployment deployment;
    ledger::base::SystemClock clock;
    std::unique_ptr<DirectoryLock> lock;
    std::unique_ptr<Database> database;
    std::unique_ptr<ReadStore> reads;
    ledger::base::Bytes secret;
    ledger::signer::SignerClient signer;
    ledger::rpc::CheckedChain settlement_chain;
    ledger::rpc::CheckedChain gateway_chain;
    ledger::rpc::CheckedChain account_chain;
    ChainQuestions questions;
    std::unique_ptr<PublicLog> log;
    std::unique_ptr<EngineThread> engine;
    JobRecords records;
    MarketFeed market;
    api::AccountHistory history;
    std::unique_ptr<SnapshotFiles> snapshots;
    std::unique_ptr<SnapshotMaker> maker;
    std::unique_ptr<Catalog> catalog;
    std::unique_ptr<WorkerGateway> gateway;
    std::unique_ptr<InferenceRouter> inference;
    std::unique_ptr<PaymentDesk> payments;
    std::unique_ptr<SettlementLoop> settlement;
    std::unique_ptr<Webhooks> webhooks;
    std::unique_ptr<api::BlobStore> blobs;
    std::unique_ptr<api::BlobUploads> uploads;
    std::unique_ptr<BlobCollector> collector;
    std::unique_ptr<api::Auth> auth;
    std::unique_ptr<api::Context> context;
    std::optional<api::ConsoleFiles> console;
    std::unique_ptr<http::Server> server;
    domain::TimeMs last_tick_ms = 0;

 private:
    [[nodiscard]] ledger::rpc::CheckedChainOptions chain_options(const std::string& user) const {
        ledger::rpc::CheckedChainOptions out;
        out.chain_id = deployment.chain_id;
        out.quorum = config.rpc_quorum;
        // A development chain mines on demand.
        out.head_age_max_ms =
            deployment.chain_id == kDevelopmentChain ? 0 : config.rpc_head_age_s * 1000;
        out.on_news = [user](const std::string& text) { spdlog::warn("{} node {}", user, text); };
        return out;
    }

    Result<void> open_storage() {
        TRY_ASSIGN(lock, DirectoryLock::take(config.data_dir));
        const auto file = config.data_dir / "market.db";
        TRY_ASSIGN(database, Database::open(file));
        TRY(database->begin());
        auto identity = check_identity(*database, deployment);
        if (!identity) {
            database->rollback();
            return identity;
        }
        TRY_ASSIGN(secret, salt_secret(*database));
        TRY(database->commit());
        TRY_ASSIGN(auto reader, Database::open(file, Database::Mode::kReadOnly));
        reads = std::make_unique<ReadStore>(std::move(reader));
        api::BlobLimits kept(config.blob_quota_bytes);
        kept.account_bytes = config.blob_account_bytes;
        kept.keep_ms = config.blob_keep_ms;
        TRY_ASSIGN(blobs, api::BlobStore::open(config.data_dir / "blobs", kept, clock));
        TRY_ASSIGN(uploads, api::BlobUploads::open(*blobs));
        return {};
    }

    [[nodiscard]] std::vector<domain::Bytes> read_records(std::uint64_t first, std::size_t limit) {
        auto rows =
            reads->with([&](Database& db) { return storage::JournalStore(db).read(first, limit); });
        return rows ? std::move(*rows) : std::vector<domain::Bytes>();
    }

    void make_webhooks() {
        const auto reach = config.webhooks_to_private ? ledger::rpc::Reach::kAnywhere
                                                      : ledger::rpc::Reach::kPublic;
        Webhooks::Deps deps{*engine, *reads, clock, {}, {}, {}, {}};
        deps.journal = [this](std::uint64_t first, std::size_t limit) {
            return read_records(first, limit);
        };
        deps.check_url = [reach](const std::string& url) { return check_webhook_url(url, reach); };
        deps.post = make_webhook_post(reach);
        deps.random_bytes = ledger::crypto::random_bytes;
        webhooks = std::make_unique<Webhooks>(std::move(deps));
        webhooks->note(log->size());
    }

    [[nodiscard]] Folds folds() { return {*engine, market, *log}; }

    /// Streams of accounts go on over a restart: with the newest records, told by the engine that
    /// followed them.
    Result<void> refill_history() {
        const std::uint64_t size = log->size();
        const std::uint64_t first = size - std::min(size, kHistoryRecords);
        history.begin_at(first);
        for (const domain::Bytes& bytes : read_records(first, kHistoryRecords)) {
            TRY_ASSIGN(const engine::Record record, engine::decode_record(bytes));
            history.add(record, engine->stand().engine);
        }
        return {};
    }

    Result<void> load_engine() {
        const engine::EngineConfig rules = engine_config(config, deployment);
        const auto journal = [this](std::uint64_t first, std::size_t limit) {
            return read_records(first, limit);
        };
        log = std::make_unique<PublicLog>(journal, clock, rules.batch_period_ms);
        if (!config.witness.is_zero()) log->set_witness(config.witness, deployment.log_domain());
        engine = std::make_unique<EngineThread>(rules, *database, clock, limits::kEngineQueue);
        snapshots = std::make_unique<SnapshotFiles>(config.data_dir / "snapshots", rules);
        TRY_ASSIGN(const std::uint64_t spared, restart(folds(), *snapshots, journal));
        spdlog::info("{} records, {} of them from a snapshot", log->size(), spared);
        maker = std::make_unique<SnapshotMaker>(*snapshots, journal, rules);
        TRY(refill_history());
        engine->add_observer([this](const engine::Record& record, ledger::base::ByteView bytes,
                                    const engine::Engine& right_after) {
            folds().publish(record, bytes);
            history.add(record, right_after);
            maker->note(record.sequence + 1);
            webhooks->note(record.sequence + 1);
        });
        maker->start(spared);
        maker->note(log->size());
        make_webhooks();
        catalog = std::make_unique<Catalog>(*engine, *reads);
        collector = std::make_unique<BlobCollector>(
            *blobs, *uploads,
            std::vector<BlobSource>{job_blobs(*engine, *reads), model_blobs(*reads),
                                    file_blobs(*reads)});
        return {};
    }

    /// Where the settings say, else beside the program (bin/ and share/), else nowhere.
    Result<void> open_console() {
        std::filesystem::path folder = config.console_dir;
        if (folder.empty()) {
            std::error_code error;
            const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
            folder = program.parent_path().parent_path() / "share/millrace/console";
            if (error || !std::filesystem::exists(folder / "index.html", error)) return {};
        }
        TRY_ASSIGN(console, api::ConsoleFiles::load(folder));
        spdlog::info("console served from {}", folder.string());
        return {};
    }

    Result<void> build_services(const SignerKeys& keys) {
        gateway = std::make_unique<WorkerGateway>(
            WorkerGateway::Deps{*engine, *catalog, gateway_chain, signer, clock, records,
                                deployment, keys.delegate, secret, config.worker_grace_ms});
        gateway->observe();
        inference = std::make_unique<InferenceRouter>(*engine, *gateway, clock);
        gateway->set_inference(inference.get());
        TRY_ASSIGN(payments, make_payment_desk(settlement_chain, deployment, config, *reads));
        settlement = std::make_unique<SettlementLoop>(
            SettlementLoop::Deps{*engine, *reads, settlement_chain, signer, clock, *log, deployment,
                                 config, payments.get()});
        settlement->observe();

        api::AuthOptions auth_options;
        auth_options.chain_id = deployment.chain_id;
        auth_options.domains = config.public_names;
        auth = std::make_unique<api::Auth>(auth_options, *catalog, clock);
        api::MarketInfo info;
        info.version = kVersion;
        TRY_ASSIGN(info.deployment_json, read_text(config.deployment));
        info.delegate_address = keys.delegate;
        info.rules = engine_config(config, deployment);
        api::ApiOptions api_options;
        api_options.requests_per_s = static_cast<double>(config.requests_per_s);
        api_options.request_burst = static_cast<double>(config.request_burst);
        api_options.orders_per_s = static_cast<double>(config.orders_per_s);
        api_options.order_burst = static_cast<double>(config.order_burst);
        api_options.cors_origins = config.cors_origins;
        context = std::make_unique<api::Context>(api::Context{
            *engine, *catalog, *log, *settlement, *inference, records, market, questions, *blobs,
            *uploads, *auth, clock, info, deployment.leases_domain(), api_options, webhooks.get(),
            payments.get(), &history});
        http::Router router;
        api::register_routes(router, *context);
        TRY(open_console());
        if (console) api::add_console_routes(router, *console);
        router.websocket("/v1/worker/ws", gateway->factory([this](const http::Request& request) {
            return auth->account_of(request);
        }));
        http::ServerOptions options;
        options.address = config.listen_address;
        options.port = config.listen_port;
        options.on_access = [times = context->times,
                             all = config.log_requests](const http::AccessRecord& record) {
            times->observe(record.request.route, record.duration);
            log_request(record, all);
        };
        options.on_incident = [](std::string_view id, std::string_view what) {
            spdlog::error("event=incident id={} what=\"{}\"", id, what);
        };
        server = std::make_unique<http::Server>(options, std::move(router));
        return {};
    }
};

Application::Application(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Application::~Application() {
    parts_->stop();
}

Result<std::unique_ptr<Application>> Application::start(Config config) {
    TRY_ASSIGN(const Deployment deployment, ledger::settlement::read_deployment(config.deployment));
    auto parts = std::make_unique<Parts>(std::move(config), deployment);
    if (const auto started = parts->start(); !started) {
        parts->stop();
        return tl::make_unexpected(started.error());
    }
    return std::unique_ptr<Application>(new Application(std::move(parts)));
}

std::uint16_t Application::port() const {
    return parts_->server->port();
}

void Application::tick() {
    parts_->tick();
}

}  // namespace marketplace::app

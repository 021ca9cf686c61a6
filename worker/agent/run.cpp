// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/poll.hpp"
#include "ledger/settlement/providers_abi.hpp"
#include "worker/agent/agent.hpp"
#include "worker/agent/asks.hpp"
#include "worker/agent/backoff.hpp"
#include "worker/agent/blob_cache.hpp"
#include "worker/agent/chain_guard.hpp"
#include "worker/agent/commands.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/agent/job_options.hpp"
#include "worker/agent/keys.hpp"
#include "worker/agent/market_facts.hpp"
#include "worker/agent/market_http.hpp"
#include "worker/agent/market_socket.hpp"
#include "worker/agent/status_file.hpp"
#include "worker/agent/stop_signals.hpp"
#include "worker/executor/process_executor.hpp"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <variant>

namespace worker::agent {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

/// What the socket's thread tells the main loop.
struct Opened {};
struct Closed {
    Error error;
};
using SocketEvent = std::variant<Opened, std::string, Closed>;

class EventQueue {
 public:
    void push(SocketEvent event) {
        {
            const std::lock_guard lock(mutex_);
            events_.push_back(std::move(event));
        }
        wake_.notify_one();
    }
    /// Waits at most until `deadline`; empty when nothing came before it or before `stop`.
    std::optional<SocketEvent> pop(steady_clock::time_point deadline, const std::stop_token& stop) {
        std::unique_lock lock(mutex_);
        if (!wake_.wait_until(lock, stop, deadline, [this] { return !events_.empty(); }))
            return std::nullopt;
        SocketEvent event = std::move(events_.front());
        events_.pop_front();
        return event;
    }

 private:
    std::mutex mutex_;
    std::condition_variable_any wake_;
    std::deque<SocketEvent> events_;
};

class SocketOutbox final : public Outbox {
 public:
    explicit SocketOutbox(MarketSocket& socket) : socket_(socket) {}
    void send(const marketplace::wire::WorkerMessage& message) override {
        socket_.send(marketplace::wire::encode(message));
    }

 private:
    MarketSocket& socket_;
};

/// Repeats what only needs the other side to come up, until `stop`.
template <typename Ask>
auto persist(std::string_view what, const std::stop_token& stop, Ask ask) -> decltype(ask()) {
    Backoff backoff;
    while (true) {
        auto result = ask();
        if (result || !is_transient(result.error().code())) return result;
        log_line("warning", fmt::format("{}: {}", what, result.error().message()));
        if (ledger::rpc::pause_for(backoff.next(), stop))
            return tl::make_unexpected(Error(ErrorCode::cancelled, "stopped while waiting"));
    }
}

/// The asks kept on disk, or new ones: the provider key is opened for that moment only.
Result<std::vector<SignedAsk>> current_asks(const WorkerConfig& config, const MarketFacts& facts,
                                            const Identity& identity) {
    const std::uint64_t now_s = ledger::base::SystemClock().now_ms() / 1000;
    const std::filesystem::path file = config.data / "asks.jsonl";
    if (const auto text = read_file(file, 256 * 1024)) {
        const auto kept = parse_asks(*text);
        if (kept && asks_current(*kept, config, identity.resource, identity.provider,
                                 facts.operator_address, now_s))
            return *kept;
    }
    TRY_ASSIGN(const auto provider, open_key(config.provider_key, config));
    if (provider.address() != identity.provider)
        return fail(ErrorCode::config_invalid, "the worker key is registered for " +
                                                   ledger::crypto::to_checksum(identity.provider) +
                                                   ", but provider_key is " +
                                                   ledger::crypto::to_checksum(provider.address()));
    const std::vector<SignedAsk> asks =
        make_asks(config, identity.resource, provider, facts.operator_address,
                  facts.deployment.leases_domain(), now_s);
    TRY(write_file(file, to_text(asks)));
    return asks;
}

void log_at(LogLevel level, std::string_view text) {
    constexpr std::array<std::string_view, 3> kNames{"info", "warning", "error"};
    log_line(kNames.at(static_cast<std::size_t>(level)), text);
}

/// What all served models share: the memory of the device that they run on.
std::uint64_t models_budget(const WorkerConfig& config) {
    return (config.gpu_model == "cpu" ? config.job_memory_mib : config.vram_mib) << 20U;
}

/// Everything `run` holds while it works; members are destroyed in reverse order.
class Runner {
 public:
    Runner(const WorkerConfig& config, ledger::crypto::PrivateKey worker, MarketFacts facts,
           Identity identity, executor::ProcessExecutorOptions program, std::stop_token stop)
        : config_(config),
          stop_(std::move(stop)),
          worker_(std::move(worker)),
          facts_(std::move(facts)),
          identity_(std::move(identity)),
          http_(config.market, worker_),
          store_(config.data / "leases"),
          blobs_(http_, config.data / "blobs", config.cache_mib << 20U,
                 blobs_of_open_leases(store_), log_at),
          guard_([config] { return dial_chain(config); }, facts_.deployment.leases, clock_),
          executor_(executor::make_process_executor(std::move(program))),
          socket_({[this] { events_.push(Opened{}); },
                   [this](std::string text) { events_.push(std::move(text)); },
                   [this](Error error) { events_.push(Closed{std::move(error)}); }}),
          outbox_(socket_),
          models_(models_budget(config)),
          agent_(context(), identity_, store_) {}

    Result<void> run() {
        std::vector<std::string> damaged;
        TRY(store_.open(damaged));
        for (const std::string& text : damaged)
            log_line("error", "lease left aside: " + text);
        next_dial_ = steady_clock::now();
        while (!stop_.stop_requested()) {
            if (!dialling_ && steady_clock::now() >= next_dial_) dial();
            const auto next = dialling_ ? next_tick_ : std::min(next_tick_, next_dial_);
            if (const auto event = events_.pop(next, stop_)) handle(*event);
            if (agent_.fatal()) return tl::make_unexpected(*agent_.fatal());
            if (steady_clock::now() >= next_tick_) tick();
            if (drained()) break;
        }
        log_line("info", "stopping; leases go on after the next start");
        agent_.stop();
        socket_.close();
        write_status("stopped");
        return {};
    }

 private:
    SessionContext context() {
        SessionContext out{worker_,
                           facts_.deployment.leases_domain(),
                           *executor_,
                           guard_,
                           blobs_,
                           http_,
                           outbox_,
                           models_,
                           clock_,
                           log_at,
                           config_.data / "jobs",
                           {},
                           {},
                           {}};
        out.runtime.threads = config_.threads;
        out.runtime.device = job_device(config_);
        out.max_flops_per_step = config_.max_flops_per_step;
        out.limits.memory_bytes = config_.job_memory_mib << 20U;
        if (facts_.voucher_period_atoms > 0) out.payment.period_atoms = facts_.voucher_period_atoms;
        return out;
    }

    void dial() {
        const Result<std::string> token = http_.token();
        if (!token) {
            log_line("warning", "cannot sign in: " + token.error().message());
            next_dial_ = steady_clock::now() + backoff_.next();
            return;
        }
        dialling_ = true;
        socket_.open(config_.market, *token);
    }

    void handle(const SocketEvent& event) {
        if (std::holds_alternative<Opened>(event)) {
            connected_ = true;
            agent_.on_open();
        } else if (const auto* text = std::get_if<std::string>(&event)) {
            agent_.on_message(*text);
            if (agent_.welcomed() && !listed_) list_asks();
        } else if (const auto* closed = std::get_if<Closed>(&event)) {
            // A market that restarted knows no session any more: sign in anew, at once the first
            // time.
            const bool stale = closed->error.code() == ErrorCode::unauthorized;
            if (stale) http_.forget_token();
            log_line("warning", closed->error.message());
            connected_ = dialling_ = listed_ = false;
            next_dial_ = steady_clock::now();
            if (!stale || signed_in_anew_) next_dial_ += backoff_.next();
            signed_in_anew_ = stale;
        }
    }

    void tick() {
        next_tick_ = steady_clock::now() + milliseconds(1000);
        agent_.tick();
        heed_control();
        if (connected_ && agent_.welcomed() && steady_clock::now() >= next_listing_) list_asks();
        if (steady_clock::now() >= next_status_) {
            next_status_ = steady_clock::now() + milliseconds(5000);
            write_status(!connected_ ? "disconnected" : agent_.draining() ? "paused" : "running");
        }
    }

    void list_asks() {
        listed_ = true;
        next_listing_ = steady_clock::now() + std::chrono::minutes(10);
        if (agent_.draining()) return;
        backoff_.reset();
        const auto asks = current_asks(config_, facts_, identity_);
        if (!asks) {
            log_line("error", "nothing is listed: " + asks.error().message());
            return;
        }
        for (const SignedAsk& ask : *asks) {
            const Result<void> posted = http_.post_ask(ask);
            if (posted) continue;
            log_line("error", fmt::format("ask for {} not listed: {}",
                                          ledger::eth::to_string(ask.ask.unit_kind),
                                          posted.error().message()));
            // A cancelled or expired ask cannot come back: the next attempt signs new ones.
            std::error_code ignored;
            if (posted.error().code() == ErrorCode::replayed_order ||
                posted.error().code() == ErrorCode::expired)
                std::filesystem::remove(config_.data / "asks.jsonl", ignored);
            next_listing_ = steady_clock::now() + std::chrono::seconds(5);
        }
        if (listed_count_ != asks->size()) {
            listed_count_ = asks->size();
            log_line("info", fmt::format("{} asks listed", listed_count_));
        }
    }

    void unlist_asks() {
        const auto text = read_file(config_.data / "asks.jsonl", 256 * 1024);
        const auto asks = text ? parse_asks(*text) : tl::make_unexpected(text.error());
        if (!asks) return;
        for (const SignedAsk& ask : *asks)
            if (const auto gone = http_.cancel_ask(ledger::eth::struct_hash(ask.ask)); !gone)
                log_line("warning", "ask not withdrawn: " + gone.error().message());
        std::error_code ignored;
        std::filesystem::remove(config_.data / "asks.jsonl", ignored);
        listed_count_ = 0;
    }

    void heed_control() {
        const auto text = read_file(config_.data / "control", 64);
        const std::string word = text ? *text : std::string();
        drain_ = word == "drain";
        const bool pause = drain_ || word == "pause";
        if (pause == agent_.draining()) return;
        log_line("info", pause ? "takes no new work from now on" : "takes work again");
        agent_.drain(pause);
        if (pause) {
            unlist_asks();
        } else {
            list_asks();
        }
    }

    [[nodiscard]] bool drained() {
        if (!drain_ || agent_.active_sessions() > 0) return false;
        log_line("info", "drained: all work is done");
        std::error_code ignored;
        std::filesystem::remove(config_.data / "control", ignored);
        return true;
    }

    void write_status(std::string_view state) {
        write_status_file(config_.data, state, config_.market, identity_, agent_.sessions(),
                          models_);
    }

    const WorkerConfig config_;
    const std::stop_token stop_;
    const ledger::crypto::PrivateKey worker_;
    const MarketFacts facts_;
    const Identity identity_;
    ledger::base::SystemClock clock_;
    MarketHttp http_;
    LeaseStore store_;
    CachedBlobs blobs_;
    ChainGuard guard_;
    std::unique_ptr<executor::Executor> executor_;
    EventQueue events_;
    MarketSocket socket_;
    SocketOutbox outbox_;
    ModelMemory models_;
    Agent agent_;
    Backoff backoff_;
    bool dialling_ = false;
    bool connected_ = false;
    bool listed_ = false;
    bool drain_ = false;
    bool signed_in_anew_ = false;
    std::size_t listed_count_ = 0;
    steady_clock::time_point next_dial_;
    steady_clock::time_point next_tick_;
    steady_clock::time_point next_status_;
    steady_clock::time_point next_listing_;
};

Result<Address> registered_provider(const WorkerConfig& config, const MarketFacts& facts,
                                    const Address& worker) {
    const auto chain = dial_chain(config);
    TRY_ASSIGN(const Address provider,
               ledger::settlement::read_worker_of(*chain, facts.deployment.providers, worker,
                                                  ledger::rpc::BlockTag::Name::kLatest));
    if (provider.is_zero())
        return fail(ErrorCode::unknown_worker,
                    ledger::crypto::to_checksum(worker) + " is not registered");
    return provider;
}

/// Two processes on one folder could sign two receipts with one sequence. Held until the end.
Result<void> lock_folder(const std::filesystem::path& data) {
    const int fd = ::open((data / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return fail(ErrorCode::io_error, "cannot write in " + data.string());
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return {};
    ::close(fd);
    return fail(ErrorCode::wrong_state,
                "another millrace-worker runs with the folder " + data.string());
}

}  // namespace

void log_line(std::string_view level, std::string_view text) {
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    fmt::print(stderr, "{:%Y-%m-%dT%H:%M:%S}Z {} {}\n", fmt::gmtime(now), level, text);
    std::fflush(stderr);
}

Result<void> run_agent(const WorkerConfig& config) {
    std::signal(SIGPIPE, SIG_IGN);
    const StopSignals signals;
    const std::stop_token stop = signals.token();
    TRY(lock_folder(config.data));
    if (config.sandbox == sandbox::Mode::kBwrap) TRY(sandbox::probe());
    TRY_ASSIGN(auto program, executor_options(config));
    TRY_ASSIGN(const std::string runtime, job_runtime(config));
    TRY_ASSIGN(auto worker, open_key(config.worker_key, config));
    const MarketHttp market(config.market, worker);
    TRY_ASSIGN(const MarketFacts facts, persist("waiting for the market", stop,
                                                [&] { return pinned_facts(config, market); }));
    Identity identity;
    identity.worker = worker.address();
    TRY_ASSIGN(identity.provider, persist("waiting for the chain", stop, [&] {
                   return registered_provider(config, facts, identity.worker);
               }));
    identity.resource = make_resource(config, identity.worker, runtime);
    log_line("info",
             fmt::format("worker {} of provider {}", ledger::crypto::to_checksum(identity.worker),
                         ledger::crypto::to_checksum(identity.provider)));
    Runner runner(config, std::move(worker), facts, identity, std::move(program), stop);
    return runner.run();
}

}  // namespace worker::agent

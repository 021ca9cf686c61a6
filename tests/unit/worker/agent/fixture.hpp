// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "worker/agent/agent.hpp"
#include "worker/agent/durable_file.hpp"
#include "worker/executor/fake_executor.hpp"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

namespace worker::agent::test {

namespace wire = marketplace::wire;
using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::crypto::PrivateKey;

/// A folder that goes with the test.
class TempFolder {
 public:
    TempFolder() {
        const auto random = ledger::crypto::random_bytes(8);
        path_ = std::filesystem::temp_directory_path() /
                ("millrace-agent-" + ledger::base::to_hex(random).substr(2));
        std::filesystem::create_directories(path_);
    }
    ~TempFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempFolder(const TempFolder&) = delete;
    TempFolder& operator=(const TempFolder&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

 private:
    std::filesystem::path path_;
};

inline PrivateKey key_of(std::uint8_t number) {
    ledger::base::Bytes bytes(32, 0);
    bytes.back() = number;
    return std::move(*PrivateKey::from_bytes(bytes));
}

inline Hash32 hash_of(std::string_view text) {
    return ledger::base::sha256(ledger::base::as_bytes(text));
}

class FakeClock final : public ledger::base::Clock {
 public:
    [[nodiscard]] ledger::base::TimeMs now_ms() const override { return now_; }
    std::atomic<ledger::base::TimeMs> now_{1'000'000};
};

class FakeGuard final : public LeaseGuard {
 public:
    [[nodiscard]] Result<void> check(const LeaseTerms& /*terms*/) override {
        const std::lock_guard lock(mutex_);
        ++asked_;
        return answer_;
    }
    void answer(Result<void> with) {
        const std::lock_guard lock(mutex_);
        answer_ = std::move(with);
    }

 private:
    std::mutex mutex_;
    Result<void> answer_;
    int asked_ = 0;
};

class FakeBlobs final : public Blobs {
 public:
    explicit FakeBlobs(std::filesystem::path folder) : folder_(std::move(folder)) {
        std::filesystem::create_directories(folder_);
    }
    [[nodiscard]] Result<std::filesystem::path> fetch(const Hash32& hash) override {
        const std::lock_guard lock(mutex_);
        fetched_.push_back(hash);
        return folder_ / ledger::base::to_hex(hash).substr(2);
    }
    [[nodiscard]] Result<void> publish(const std::filesystem::path& file,
                                       const Hash32& hash) override {
        const std::lock_guard lock(mutex_);
        if (failures_ > 0) {
            --failures_;
            return fail(ErrorCode::unavailable, "the market is away");
        }
        std::error_code error;
        std::filesystem::copy_file(file, folder_ / ledger::base::to_hex(hash).substr(2),
                                   std::filesystem::copy_options::overwrite_existing, error);
        if (error) return fail(ErrorCode::io_error, "no such file");
        return {};
    }
    [[nodiscard]] std::vector<Hash32> fetched() {
        const std::lock_guard lock(mutex_);
        return fetched_;
    }
    void fail_next(int count) {
        const std::lock_guard lock(mutex_);
        failures_ = count;
    }

 private:
    const std::filesystem::path folder_;
    std::mutex mutex_;
    std::vector<Hash32> fetched_;
    int failures_ = 0;
};

class FakeKeys final : public KeySource {
 public:
    [[nodiscard]] Result<ledger::base::Bytes> job_key(const std::string& /*job*/,
                                                      const Hash32& lease) override {
        const std::lock_guard lock(mutex_);
        const auto found = keys_.find(lease);
        if (found == keys_.end()) return fail(ErrorCode::not_found, "no key yet");
        return found->second;
    }
    void give(const Hash32& lease, ledger::base::Bytes wrapped) {
        const std::lock_guard lock(mutex_);
        keys_[lease] = std::move(wrapped);
    }

 private:
    std::mutex mutex_;
    std::map<Hash32, ledger::base::Bytes> keys_;
};

/// The market's ear: keeps what was said, and wakes whoever waits for it.
class Ear final : public Outbox {
 public:
    void send(const wire::WorkerMessage& message) override {
        const std::lock_guard lock(mutex_);
        said_.push_back(message);
        heard_.notify_all();
    }
    /// Messages of a kind, once there are `count`; fewer when a time-out passed.
    template <typename Message>
    std::vector<Message> wait_for(std::size_t count) {
        std::unique_lock lock(mutex_);
        heard_.wait_for(lock, std::chrono::seconds(20),
                        [&] { return select<Message>().size() >= count; });
        return select<Message>();
    }
    template <typename Message>
    std::vector<Message> all() {
        const std::lock_guard lock(mutex_);
        return select<Message>();
    }
    void forget() {
        const std::lock_guard lock(mutex_);
        said_.clear();
    }

 private:
    template <typename Message>
    [[nodiscard]] std::vector<Message> select() const {
        std::vector<Message> out;
        for (const wire::WorkerMessage& message : said_)
            if (const auto* found = std::get_if<Message>(&message)) out.push_back(*found);
        return out;
    }

    std::mutex mutex_;
    std::condition_variable heard_;
    std::vector<wire::WorkerMessage> said_;
};

inline std::string train_spec(std::uint64_t steps = 100, std::uint64_t segment = 25) {
    return fmt::format(
        R"({{"batch":4,"data":{{"blob":"{}","format":"text"}},"eval_batches":1,)"
        R"("flops_per_step":1000,"holdout_bp":500,"kind":"train","learning_rate":"0.001",)"
        R"("model":{{"arch":"gpt","context":16,"depth":1,"heads":2,"vocab":256,"width":16}},)"
        R"("numeric_class":"D1","precision":"fp32","seed":7,"segment_steps":{},"steps":{},)"
        R"("version":1,"warmup_steps":2,"weight_decay":"0.01"}})",
        ledger::base::to_hex(hash_of("text")), segment, steps);
}

inline std::string serve_spec() {
    return fmt::format(
        R"({{"kind":"infer.serve","model":{{"arch":"gpt","context":64,"depth":1,"heads":2,)"
        R"("vocab":256,"width":16}},"name":"tiny","tokenizer":"bytes","version":1,)"
        R"("weights":"{}"}})",
        ledger::base::to_hex(hash_of("weights")));
}

/// An agent with everything around it faked.
struct World {
    TempFolder folder;
    PrivateKey worker = key_of(1);
    PrivateKey delegate = key_of(2);
    Address provider = key_of(3).address();
    Address buyer = key_of(4).address();
    ledger::eth::Domain domain{31337, key_of(5).address()};
    executor::FakeExecutor executor;
    FakeGuard guard;
    FakeBlobs blobs{folder.path() / "blobs"};
    FakeKeys keys;
    Ear ear;
    FakeClock clock;
    ModelMemory models{16ULL << 30U};
    LeaseStore store{folder.path() / "leases"};
    PaymentPolicy payment{1'000'000'000, 1'000'000'000};

    World() {
        std::vector<std::string> damaged;
        MR_CHECK(store.open(damaged).has_value());
    }

    [[nodiscard]] SessionContext context() { return context(models); }
    [[nodiscard]] SessionContext context(ModelMemory& memory) {
        SessionContext out{worker,
                           domain,
                           executor,
                           guard,
                           blobs,
                           keys,
                           ear,
                           memory,
                           clock,
                           [](LogLevel, std::string_view) {},
                           folder.path() / "jobs",
                           {},
                           {},
                           payment};
        return out;
    }
    [[nodiscard]] std::unique_ptr<Agent> make_agent() { return make_agent(models); }
    [[nodiscard]] std::unique_ptr<Agent> make_agent(ModelMemory& memory) {
        Identity identity;
        identity.worker = worker.address();
        identity.provider = provider;
        return std::make_unique<Agent>(context(memory), identity, store);
    }
    [[nodiscard]] wire::Welcome welcome() const {
        wire::Welcome out;
        out.chain_id = domain.chain_id;
        out.leases = domain.contract;
        out.market_time_ms = clock.now_ms();
        return out;
    }
    [[nodiscard]] wire::Assign assign(
        ledger::eth::UnitKind kind = ledger::eth::UnitKind::kTrainingStep) const {
        wire::Assign out;
        out.parties = {buyer, provider, delegate.address(), worker.address()};
        out.ask_hash = hash_of(fmt::format("ask {}", static_cast<int>(kind)));
        out.bid_hash = hash_of("bid");
        out.lease = ledger::settlement::lease_id({out.ask_hash, out.bid_hash, 0});
        out.unit_kind = kind;
        out.price_atoms = 1000;
        out.max_units = 100;
        out.spec = kind == ledger::eth::UnitKind::kTrainingStep ? train_spec() : serve_spec();
        out.salt = hash_of("salt");
        return out;
    }
};

inline void tell(Agent& agent, const wire::MarketMessage& message) {
    agent.on_message(wire::encode(message));
}

}  // namespace worker::agent::test

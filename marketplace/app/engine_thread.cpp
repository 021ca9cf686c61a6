// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/engine_thread.hpp"

#include "ledger/base/check.hpp"
#include "marketplace/http/post_batch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

namespace marketplace::app {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

bool is_of_disk(const Error& error) {
    return error.code() == ErrorCode::io_error || error.code() == ErrorCode::disk_full;
}

constexpr std::size_t kGroupMax = 256;
constexpr std::size_t kLoadChunk = 4096;

std::string name_of_record(std::uint64_t sequence) {
    return "journal record " + std::to_string(sequence);
}

}  // namespace

EngineThread::EngineThread(engine::EngineConfig config, storage::Database& database,
                           const ledger::base::Clock& clock, std::size_t queue_max)
    : config_(config),
      database_(database),
      journal_(database),
      clock_(clock),
      queue_max_(queue_max),
      engine_(std::move(config)) {}

EngineThread::~EngineThread() {
    stop();
}

/// Records [first, first + kLoadChunk) that exist, each following the one before.
Result<std::vector<EngineThread::Decoded>> EngineThread::read_ahead(std::uint64_t first,
                                                                    domain::Hash32 previous,
                                                                    const Seen& seen) {
    TRY_ASSIGN(const std::vector<domain::Bytes> rows, journal_.read(first, kLoadChunk));
    std::vector<Decoded> out;
    out.reserve(rows.size());
    for (const domain::Bytes& bytes : rows) {
        TRY_ASSIGN(engine::Record record, engine::decode_record(bytes));
        if (record.sequence != first + out.size() || record.previous != previous)
            return fail(ErrorCode::audit_failed,
                        name_of_record(first + out.size()) + " does not follow the one before");
        seen(record, bytes);
        previous = engine::record_hash(bytes);
        domain::MessageHashes messages(record.command);
        out.push_back({std::move(record), std::move(messages), previous});
    }
    return out;
}

Result<void> EngineThread::load(const Seen& seen, std::optional<Start> start) {
    if (!start) start.emplace(Start{engine::Engine(config_), 0, {}});
    engine::Engine fresh = std::move(start->engine);
    std::uint64_t sequence = start->records;
    domain::Hash32 previous = start->last_record;
    const auto ahead = [&](std::uint64_t first, const domain::Hash32& before) {
        return std::async(std::launch::async,
                          [this, first, before, &seen] { return read_ahead(first, before, seen); });
    };
    for (auto next = ahead(sequence, previous);;) {
        TRY_ASSIGN(const std::vector<Decoded> chunk, next.get());
        if (chunk.empty()) break;
        previous = chunk.back().hash;
        next = ahead(sequence + chunk.size(), previous);
        for (const Decoded& item : chunk) {
            const engine::Record& record = item.record;
            const auto events = fresh.apply(record.command, item.messages, record.time_ms);
            if (!events || *events != record.events || fresh.state_hash() != record.state_hash)
                return fail(ErrorCode::audit_failed, name_of_record(sequence) + " does not replay");
            ++sequence;
        }
    }
    engine_ = std::move(fresh);
    committed_ = engine_.state_hash();
    next_sequence_ = sequence;
    previous_ = previous;
    return {};
}

void EngineThread::add_observer(Observer observer) {
    observers_.push_back(std::move(observer));
}

void EngineThread::on_stage(std::function<void(Stage)> seen) {
    on_stage_ = std::move(seen);
}

void EngineThread::start() {
    MR_CHECK(!thread_.joinable());
    thread_ = std::thread([this] { run(); });
}

void EngineThread::stop() {
    {
        const std::scoped_lock lock(mutex_);
        stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
}

bool EngineThread::push(Task& task) {
    {
        const std::scoped_lock lock(mutex_);
        if (stopping_ || queue_.size() >= queue_max_) return false;
        queue_.push_back(std::move(task));
    }
    wake_.notify_one();
    return true;
}

void EngineThread::submit(domain::Command command, Done done) {
    Task task;
    task.commands.emplace_back(std::move(command));
    task.done = std::move(done);
    if (!push(task)) task.done(fail(ErrorCode::queue_full, "the market is busy"));
}

bool EngineThread::query(std::function<void(const engine::Engine&)> read) {
    if (answering_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        read(engine_);
        return true;
    }
    Task task;
    task.read = std::move(read);
    return push(task);
}

Result<std::vector<domain::Event>> EngineThread::apply(domain::Command command) {
    auto promise = std::make_shared<std::promise<Result<std::vector<domain::Event>>>>();
    auto future = promise->get_future();
    submit(std::move(command), [promise](auto result) { promise->set_value(std::move(result)); });
    return future.get();
}

Result<void> EngineThread::transact(std::vector<domain::Command> commands, Write write) {
    auto promise = std::make_shared<std::promise<Result<std::vector<domain::Event>>>>();
    auto future = promise->get_future();
    Task task;
    for (domain::Command& command : commands)
        task.commands.emplace_back(std::move(command));
    task.write = std::move(write);
    task.tolerant = true;
    task.done = [promise](auto result) { promise->set_value(std::move(result)); };
    if (!push(task)) return fail(ErrorCode::queue_full, "the market is busy");
    TRY(future.get());
    return {};
}

void EngineThread::run() {
    for (;;) {
        std::vector<Task> group;
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
            // Who shares this core and has more for the group goes first: a commit costs as much
            // for one as for many. Where the core is not shared this returns at once.
            lock.unlock();
            std::this_thread::yield();
            lock.lock();
            if (queue_.empty()) return;
            // A task with rows of its own goes alone: its failure is nobody else's.
            const auto alone = std::find_if(queue_.begin(), queue_.end(),
                                            [](const Task& t) { return t.write != nullptr; });
            const auto before = static_cast<std::size_t>(alone - queue_.begin());
            const std::size_t count = std::min(std::max<std::size_t>(before, 1), kGroupMax);
            for (std::size_t i = 0; i < count; ++i) {
                group.push_back(std::move(queue_.front()));
                queue_.pop_front();
            }
        }
        run_group(std::move(group));
    }
}

Result<std::vector<domain::Event>> EngineThread::apply_one(Submitted& submitted,
                                                           std::vector<Written>& written) {
    const domain::TimeMs now = std::max(clock_.now_ms(), engine_.last_time_ms());
    const domain::Hash32 before = engine_.state_hash();
    TRY_ASSIGN(std::vector<domain::Event> events,
               engine_.apply(submitted.command, submitted.messages, now));
    // A repetition changes nothing and leaves no record.
    if (events.empty() && engine_.state_hash() == before) return events;
    engine::Record record;
    record.sequence = next_sequence_;
    record.time_ms = now;
    record.previous = previous_;
    record.command = std::move(submitted.command);
    record.events = events;
    record.state_hash = engine_.state_hash();
    domain::Bytes bytes = engine::encode_record(record);
    reach(Stage::kApplied);
    TRY(journal_.append(record.sequence, bytes));
    reach(Stage::kAppended);
    previous_ = engine::record_hash(bytes);
    ++next_sequence_;
    written.push_back({std::move(record), std::move(bytes)});
    return events;
}

Result<std::vector<domain::Event>> EngineThread::run_task(Task& task,
                                                          std::vector<Written>& written) {
    // Rows first: when they fail, no command has changed the engine.
    if (task.write) TRY(task.write(database_));
    std::vector<domain::Event> events;
    for (Submitted& submitted : task.commands) {
        auto result = apply_one(submitted, written);
        if (!result) {
            if (is_of_disk(result.error()) || !task.tolerant) return result;
            spdlog::debug("{} left out: {}", domain::name_of(submitted.command),
                          result.error().message());
            continue;
        }
        events.insert(events.end(), result->begin(), result->end());
    }
    return events;
}

void EngineThread::fail_group(std::vector<Task>& group, const Error& error) {
    spdlog::error("nothing was written: {}", error.message());
    database_.rollback();
    if (engine_.state_hash() != committed_) {
        // The engine ran ahead of the disk: what is on disk is the truth.
        const auto loaded = load([](const auto&, auto) {});
        if (!loaded) spdlog::critical("the journal is lost: {}", loaded.error().message());
        MR_CHECK(loaded.has_value());  // what the engine holds now is nobody's state
    }
    answer_all(group, error);
}

void EngineThread::answer_all(std::vector<Task>& group, const Error& error) {
    answer(group, std::vector<Result<std::vector<domain::Event>>>(group.size(),
                                                                  tl::make_unexpected(error)));
}

void EngineThread::answer(std::vector<Task>& group,
                          std::vector<Result<std::vector<domain::Event>>> results) {
    const http::PostBatch together;
    answering_.store(std::this_thread::get_id(), std::memory_order_relaxed);
    for (std::size_t i = 0; i < group.size(); ++i) {
        if (group[i].read) group[i].read(engine_);
        if (group[i].done) group[i].done(std::move(results[i]));
    }
    answering_.store({}, std::memory_order_relaxed);
}

/// Says once when writing stops and when it goes on.
Result<void> EngineThread::check_room() {
    auto room = database_.check_room();
    if (!room && !stalled_) spdlog::error("nothing is written: {}", room.error().message());
    if (room && stalled_) spdlog::info("writing goes on");
    stalled_ = !room;
    return room;
}

void EngineThread::run_group(std::vector<Task> group) {
    std::vector<Written> written;
    std::vector<Result<std::vector<domain::Event>>> results(group.size());
    const bool writes =
        std::any_of(group.begin(), group.end(), [](const Task& t) { return !t.read; });
    if (writes) {
        if (const auto room = check_room(); !room) return answer_all(group, room.error());
        if (const auto begun = database_.begin(); !begun) return fail_group(group, begun.error());
        for (std::size_t i = 0; i < group.size(); ++i) {
            if (group[i].read) continue;
            results[i] = run_task(group[i], written);
            if (!results[i] && (group[i].write || is_of_disk(results[i].error())))
                return fail_group(group, results[i].error());
        }
        reach(Stage::kCommitting);
        if (const auto committed = database_.commit(); !committed)
            return fail_group(group, committed.error());
        committed_ = engine_.state_hash();
        reach(Stage::kCommitted);
    }
    for (const Written& item : written)
        for (const Observer& observer : observers_)
            observer(item.record, item.bytes, engine_);
    answer(group, std::move(results));
    reach(Stage::kAnswered);
}

}  // namespace marketplace::app

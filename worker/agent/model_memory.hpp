// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/base/ids.hpp"
#include "worker/model/model_spec.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace worker::agent {

using ledger::base::Hash32;

/// Decides which served models are in memory together. It counts promised bytes only: it measures
/// nothing and knows no process. Thread-safe.
///
/// A model wants room, gets it, is in use or idle, and gives the room back. Who wants room is
/// served in order. Where it is short, idle models are asked to leave, the longest unused first,
/// and none unless that is enough; one that is in use is never asked.
class ModelMemory {
 public:
    enum class State : std::uint8_t {
        kUnloaded,  ///< holds nothing
        kWaiting,   ///< wants room
        kInUse,     ///< holds room; loads or has requests
        kIdle,      ///< holds room
        kLeaving,   ///< holds room until `unload`; taking it into use again keeps it
    };
    /// Called with the lock held: they hand on to another thread and never call back from within.
    struct Calls {
        std::function<void()> room;   ///< the room that was wanted is there; it is now in use
        std::function<void()> leave;  ///< asked to unload, unless it came into use meanwhile
    };
    struct Status {
        Hash32 key;
        std::string name;
        std::uint64_t bytes = 0;
        State state = State::kUnloaded;
        std::string why;  ///< for people; empty where the state says it all
    };

    explicit ModelMemory(std::uint64_t budget_bytes) : budget_bytes_(budget_bytes) {}
    ModelMemory(const ModelMemory&) = delete;
    ModelMemory& operator=(const ModelMemory&) = delete;

    [[nodiscard]] std::uint64_t budget_bytes() const noexcept { return budget_bytes_; }

    /// Queues for `bytes` (above the budget: all of it); `room` may be called before this returns.
    /// Without effect on a model that waits or holds room.
    void want(const Hash32& key, const std::string& name, std::uint64_t bytes, Calls calls);
    /// A request came, or the last one went. Without effect on a model that holds no room.
    void use(const Hash32& key);
    void idle(const Hash32& key, std::uint64_t now_ms);
    /// kUnloaded of one that is not known.
    [[nodiscard]] State state(const Hash32& key) const;
    /// Gives the room back, or stops waiting for it.
    void unload(const Hash32& key);
    /// As `unload`, and nothing of it stays; none of its calls is made after this returns.
    void forget(const Hash32& key);

    [[nodiscard]] std::vector<Status> status() const;
    /// Why a model that waits has no room, for people.
    [[nodiscard]] std::string shortage(const Hash32& key) const;

 private:
    struct Model {
        std::string name;
        std::uint64_t bytes = 0;
        State state = State::kUnloaded;
        std::uint64_t turn = 0;          // of those that wait
        std::uint64_t last_used_ms = 0;  // of those that are idle
        std::string left_for;            // whose want made it leave
        Calls calls;
    };

    // All with the lock held.
    [[nodiscard]] std::uint64_t sum(std::initializer_list<State> states) const;
    [[nodiscard]] Model* first_waiting();
    [[nodiscard]] Model* longest_idle();
    [[nodiscard]] std::string shortage_of(const Model& model) const;
    void arrange();

    const std::uint64_t budget_bytes_;
    mutable std::mutex mutex_;
    std::map<Hash32, Model> models_;
    std::uint64_t turns_ = 0;
};

/// "unloaded", "waiting", "in use", "idle", "leaving".
[[nodiscard]] std::string_view to_string(ModelMemory::State state) noexcept;

/// Weights packed in `format` from `file_bytes` of two-byte numbers, and the runtime, in bytes. Of
/// four-byte numbers they take half of what this says.
[[nodiscard]] std::uint64_t loaded_bytes(std::uint64_t file_bytes,
                                         kernels::WeightFormat format) noexcept;

/// What a process with `loaded` bytes of weights and runtime may use, so that a quarter of it is
/// for keys and values.
[[nodiscard]] std::uint64_t serving_need(std::uint64_t loaded, int threads) noexcept;

}  // namespace worker::agent

// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/model_memory.hpp"

#include "ledger/base/sha256.hpp"
#include "worker/kernels/weight_matrix.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace worker::agent {
namespace {

using State = ModelMemory::State;

Hash32 key_of(const std::string& name) {
    return ledger::base::sha256(ledger::base::as_bytes(name));
}

/// Models of whole numbers of bytes, and what was said to them.
struct World {
    explicit World(std::uint64_t budget) : memory(budget) {}
    void want(const std::string& name, std::uint64_t bytes) {
        memory.want(key_of(name), name, bytes,
                    {[this, name] { said.push_back("room " + name); },
                     [this, name] { said.push_back("leave " + name); }});
    }
    void load(const std::string& name, std::uint64_t bytes, std::uint64_t idle_ms) {
        want(name, bytes);
        memory.idle(key_of(name), idle_ms);
    }
    [[nodiscard]] State state(const std::string& name) const { return memory.state(key_of(name)); }
    std::vector<std::string> take() { return std::exchange(said, {}); }

    std::vector<std::string> said;
    ModelMemory memory;
};

using Said = std::vector<std::string>;

TEST_CASE("model_memory: a model in use is never asked to leave; who waits learns why") {
    World world(10);
    world.want("a", 6);
    world.want("b", 6);
    CHECK(world.take() == Said{"room a"});
    CHECK(world.state("b") == State::kWaiting);
    CHECK(world.memory.shortage(key_of("b")) == "it needs 0 MiB; models in use hold 0 of 0 MiB");
    world.memory.idle(key_of("a"), 1);
    CHECK(world.take() == Said{"leave a"});
    CHECK(world.state("a") == State::kLeaving);
    world.memory.unload(key_of("a"));
    CHECK(world.take() == Said{"room b"});
    const auto status = world.memory.status();
    const auto gone =
        std::find_if(status.begin(), status.end(), [](const auto& one) { return one.name == "a"; });
    REQUIRE(gone != status.end());
    CHECK(gone->state == State::kUnloaded);
    CHECK(gone->why == "it made room for b");
}

TEST_CASE("model_memory: nobody leaves in vain") {
    World world(10);
    world.want("busy", 6);
    world.load("idle", 3, 1);
    world.take();
    world.want("large", 7);
    CHECK(world.take().empty());
    CHECK(world.state("idle") == State::kIdle);
    world.memory.forget(key_of("busy"));
    CHECK(world.take() == Said{"room large"});
    CHECK(world.state("idle") == State::kIdle);
}

TEST_CASE("model_memory: the longest unused leaves first, and no more of them than needed") {
    World world(12);
    world.load("a", 4, 30);
    world.load("b", 4, 10);
    world.load("c", 4, 20);
    world.take();
    world.want("d", 8);
    CHECK(world.take() == Said{"leave b", "leave c"});
    world.memory.unload(key_of("b"));
    CHECK(world.take().empty());
    world.memory.unload(key_of("c"));
    CHECK(world.take() == Said{"room d"});
    CHECK(world.state("a") == State::kIdle);
}

TEST_CASE("model_memory: one that comes into use stays, and another leaves instead") {
    World world(8);
    world.load("a", 4, 10);
    world.load("b", 4, 20);
    world.take();
    world.want("c", 4);
    CHECK(world.take() == Said{"leave a"});
    world.memory.use(key_of("a"));
    CHECK(world.state("a") == State::kInUse);
    CHECK(world.take() == Said{"leave b"});
    world.memory.use(key_of("b"));
    CHECK(world.take().empty());
    world.memory.idle(key_of("b"), 30);
    CHECK(world.take() == Said{"leave b"});
}

TEST_CASE("model_memory: who waits is served in order, and may stop waiting") {
    World world(10);
    world.want("a", 8);
    world.want("large", 9);
    world.want("small", 2);
    CHECK(world.take() == Said{"room a"});  // "small" would fit, but is not first
    world.memory.unload(key_of("large"));
    CHECK(world.take() == Said{"room small"});
    CHECK(world.state("large") == State::kUnloaded);
}

TEST_CASE("model_memory: a need above the budget is all of it") {
    World world(10);
    world.load("a", 1, 1);
    world.take();
    world.want("huge", 1000);
    CHECK(world.take() == Said{"leave a"});
    world.memory.unload(key_of("a"));
    CHECK(world.take() == Said{"room huge"});
}

TEST_CASE("model_memory: forgotten models hold nothing and hear nothing") {
    World world(10);
    world.load("a", 10, 1);
    world.want("b", 10);
    world.take();
    world.memory.forget(key_of("b"));
    world.memory.forget(key_of("a"));
    CHECK(world.take().empty());
    CHECK(world.memory.status().empty());
}

TEST_CASE(
    "model_memory: under random calls room stays inside the budget and nobody waits in vain") {
    constexpr std::uint64_t kSeed = 20261127;
    MESSAGE("seed " << kSeed);
    std::mt19937_64 random(kSeed);
    World world(20);
    const std::vector<std::string> names{"a", "b", "c", "d", "e", "f"};
    for (std::uint64_t step = 0; step < 20'000; ++step) {
        const std::string& name = names[random() % names.size()];
        switch (random() % 5) {
            case 0:
                world.want(name, 1 + random() % 12);
                break;
            case 1:
                world.memory.use(key_of(name));
                break;
            case 2:
                world.memory.idle(key_of(name), step);
                break;
            case 3:  // only the idle or leaving unload by themselves
                if (world.state(name) != State::kInUse) world.memory.unload(key_of(name));
                break;
            default:
                world.memory.forget(key_of(name));
        }
        std::uint64_t held = 0;
        std::uint64_t staying = 0;
        std::uint64_t smallest_wait = 100;
        std::size_t waiting = 0;
        for (const auto& one : world.memory.status()) {
            const bool holds = one.state == State::kInUse || one.state == State::kIdle ||
                               one.state == State::kLeaving;
            held += holds ? one.bytes : 0;
            staying += one.state == State::kInUse ? one.bytes : 0;
            if (one.state != State::kWaiting) continue;
            ++waiting;
            smallest_wait = std::min(smallest_wait, one.bytes);
        }
        REQUIRE(held <= 20);
        // Where one waits alone, what is in use and what leaves explains it.
        if (waiting == 1) {
            const bool somebody_leaves =
                std::any_of(names.begin(), names.end(),
                            [&](const auto& n) { return world.state(n) == State::kLeaving; });
            REQUIRE((somebody_leaves || staying + smallest_wait > 20));
        }
    }
}

TEST_CASE("model_memory: what is loaded follows from the files and the format") {
    constexpr std::uint64_t kRuntime = 512ULL << 20U;
    constexpr std::uint64_t kFile = 2'000'000'000;  // 1e9 numbers
    using kernels::WeightFormat;
    CHECK(loaded_bytes(kFile, WeightFormat::kF32) == kRuntime + 4'000'000'000);
    CHECK(loaded_bytes(kFile, WeightFormat::kBf16) == kRuntime + kFile);
    // One matrix of these numbers takes no more than is promised.
    for (const WeightFormat format : {WeightFormat::kInt8, WeightFormat::kInt4}) {
        const std::uint64_t packed = kernels::WeightMatrix::bytes(100'000, 10'000, format);
        CHECK(loaded_bytes(kFile, format) >= kRuntime + packed);
        CHECK(loaded_bytes(kFile, format) < kRuntime + packed + packed / 16);
    }
    CHECK(loaded_bytes(UINT64_MAX, WeightFormat::kF32) >= std::uint64_t{1} << 61U);
    CHECK(serving_need(300, 0) == serving_need(300, 1));
    CHECK(serving_need(900ULL << 20U, 2) >= 1200ULL << 20U);
}

}  // namespace
}  // namespace worker::agent

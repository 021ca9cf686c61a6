// SPDX-License-Identifier: Apache-2.0
#include "worker/agent/model_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace worker::agent {

using State = ModelMemory::State;

void ModelMemory::want(const Hash32& key, const std::string& name, std::uint64_t bytes,
                       Calls calls) {
    const std::lock_guard lock(mutex_);
    Model& model = models_[key];
    if (model.state != State::kUnloaded) return;
    model = Model{};
    model.name = name;
    model.bytes = std::min(bytes, budget_bytes_);
    model.state = State::kWaiting;
    model.turn = ++turns_;
    model.calls = std::move(calls);
    arrange();
}

void ModelMemory::use(const Hash32& key) {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(key);
    if (found == models_.end()) return;
    State& state = found->second.state;
    const bool left = state == State::kLeaving;
    if (state == State::kIdle || left) state = State::kInUse;
    if (left) arrange();  // another may leave instead
}

void ModelMemory::idle(const Hash32& key, std::uint64_t now_ms) {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(key);
    if (found == models_.end() || found->second.state != State::kInUse) return;
    found->second.state = State::kIdle;
    found->second.last_used_ms = now_ms;
    arrange();
}

State ModelMemory::state(const Hash32& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(key);
    return found == models_.end() ? State::kUnloaded : found->second.state;
}

void ModelMemory::unload(const Hash32& key) {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(key);
    if (found == models_.end()) return;
    found->second.state = State::kUnloaded;
    found->second.calls = {};
    arrange();
}

void ModelMemory::forget(const Hash32& key) {
    const std::lock_guard lock(mutex_);
    if (models_.erase(key) > 0) arrange();
}

std::vector<ModelMemory::Status> ModelMemory::status() const {
    const std::lock_guard lock(mutex_);
    std::vector<Status> out;
    for (const auto& [key, model] : models_) {
        Status one{key, model.name, model.bytes, model.state, {}};
        if (model.state == State::kWaiting) one.why = shortage_of(model);
        if (model.state == State::kUnloaded)
            one.why = model.left_for.empty() ? "no request waits for it"
                                             : "it made room for " + model.left_for;
        if (model.state == State::kLeaving) one.why = "it makes room for " + model.left_for;
        out.push_back(std::move(one));
    }
    return out;
}

std::string ModelMemory::shortage(const Hash32& key) const {
    const std::lock_guard lock(mutex_);
    const auto found = models_.find(key);
    return found == models_.end() ? std::string() : shortage_of(found->second);
}

std::uint64_t ModelMemory::sum(std::initializer_list<State> states) const {
    std::uint64_t out = 0;
    for (const auto& [key, model] : models_)
        if (std::find(states.begin(), states.end(), model.state) != states.end())
            out += model.bytes;
    return out;
}

ModelMemory::Model* ModelMemory::first_waiting() {
    Model* out = nullptr;
    for (auto& [key, model] : models_)
        if (model.state == State::kWaiting && (out == nullptr || model.turn < out->turn))
            out = &model;
    return out;
}

ModelMemory::Model* ModelMemory::longest_idle() {
    Model* out = nullptr;
    for (auto& [key, model] : models_)
        if (model.state == State::kIdle &&
            (out == nullptr || model.last_used_ms < out->last_used_ms))
            out = &model;
    return out;
}

std::string ModelMemory::shortage_of(const Model& model) const {
    return fmt::format("it needs {} MiB; models in use hold {} of {} MiB", model.bytes >> 20U,
                       sum({State::kInUse}) >> 20U, budget_bytes_ >> 20U);
}

void ModelMemory::arrange() {
    // No sum passes the budget: room is given only where it is.
    while (Model* next = first_waiting()) {
        const std::uint64_t held = sum({State::kInUse, State::kIdle, State::kLeaving});
        if (next->bytes <= budget_bytes_ - held) {
            next->state = State::kInUse;
            next->calls.room();
            continue;
        }
        if (next->bytes > budget_bytes_ - sum({State::kInUse})) return;
        while (next->bytes > budget_bytes_ - sum({State::kInUse, State::kIdle})) {
            Model* leaver = longest_idle();
            leaver->state = State::kLeaving;
            leaver->left_for = next->name;
            leaver->calls.leave();
        }
        return;
    }
}

std::string_view to_string(State state) noexcept {
    switch (state) {
        case State::kUnloaded:
            return "unloaded";
        case State::kWaiting:
            return "waiting";
        case State::kInUse:
            return "in use";
        case State::kIdle:
            return "idle";
        case State::kLeaving:
            return "leaving";
    }
    return "unloaded";
}

std::uint64_t loaded_bytes(std::uint64_t file_bytes, kernels::WeightFormat format) noexcept {
    constexpr std::uint64_t kRuntime = 512ULL << 20U;
    constexpr std::uint64_t kFileMax = std::uint64_t{1} << 60U;
    const std::uint64_t file = std::min(file_bytes, kFileMax);
    std::uint64_t weights = file;
    switch (format) {
        case kernels::WeightFormat::kF32:
            weights = 2 * file;
            break;
        case kernels::WeightFormat::kBf16:
            break;
        case kernels::WeightFormat::kInt8:
            weights = file / 2 + file / 64;
            break;
        case kernels::WeightFormat::kInt4:  // with a scale for 32
            weights = file / 4 + file / 24;
            break;
    }
    return weights + kRuntime;
}

std::uint64_t serving_need(std::uint64_t loaded, int threads) noexcept {
    constexpr std::uint64_t kThread = 16ULL << 20U;  // two stacks: libtorch has a pool of its own
    const std::uint64_t all = loaded + kThread * static_cast<std::uint64_t>(std::max(threads, 1));
    return all + all / 3;
}

}  // namespace worker::agent

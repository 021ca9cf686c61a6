// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/key_use.hpp"

#include <utility>

namespace marketplace::api {

namespace {

constexpr domain::TimeMs kAskEveryMs = 30'000;

/// Writes down what was paid with a key. What cannot be written now goes with the next.
void save_spent(Services& services, const std::shared_ptr<LiveKey>& key) {
    static_cast<void>(services.desk.post([&services, key] {
        const std::uint64_t atoms = key->take_unsaved();
        if (atoms == 0) return;
        if (!services.context.catalog.spend_api_key(key->row().id, atoms)) key->unsave(atoms);
    }));
}

class KeyBudget final : public Budget {
 public:
    KeyBudget(Services& services, std::shared_ptr<LiveKey> key)
        : services_(services), key_(std::move(key)) {}
    ~KeyBudget() override { key_->settle(held_, 0); }
    KeyBudget(const KeyBudget&) = delete;
    KeyBudget& operator=(const KeyBudget&) = delete;

    std::uint64_t hold(std::uint64_t atoms) override {
        const std::uint64_t granted = key_->hold(atoms);
        const std::lock_guard lock(mutex_);
        held_ += granted;
        return granted;
    }
    void settle(std::uint64_t paid_atoms) override {
        std::uint64_t held = 0;
        {
            const std::lock_guard lock(mutex_);
            held = std::exchange(held_, 0);
        }
        key_->settle(held, paid_atoms);
        if (paid_atoms > 0) save_spent(services_, key_);
    }

 private:
    Services& services_;
    const std::shared_ptr<LiveKey> key_;
    std::mutex mutex_;
    std::uint64_t held_ = 0;
};

}  // namespace

std::shared_ptr<Budget> make_budget(Services& services, std::shared_ptr<LiveKey> key) {
    if (key == nullptr) return nullptr;
    return std::make_shared<KeyBudget>(services, std::move(key));
}

void watch_delegation(Services& services, const std::shared_ptr<LiveKey>& key) {
    if (key == nullptr || !key->row().delegation_nonce) return;
    if (!key->take_turn(services.context.clock.now_ms(), kAskEveryMs)) return;
    // A full queue or a silent node changes nothing: the next turn asks again.
    static_cast<void>(services.chain_desk.post([&services, key] {
        const auto nonce = services.context.chain.delegation_nonce(key->row().owner);
        if (!nonce || *nonce == *key->row().delegation_nonce) return;
        const auto revoked =
            services.context.catalog.revoke_api_key(key->row().id, key->row().owner);
        if (revoked) services.context.auth.end_api_key(key->row().id);
    }));
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/idempotency.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/base/sha256.hpp"
#include "marketplace/api/services.hpp"

#include <atomic>

namespace marketplace::api {

using ledger::base::as_bytes;
using ledger::base::Error;
using ledger::base::ErrorCode;

/// Stands between a handler and its client and keeps a successful answer.
class IdempotencyCache::Recorder final : public http::Reply::Sink {
 public:
    Recorder(IdempotencyCache& cache, std::string key, http::Reply inner)
        : cache_(cache), key_(std::move(key)), inner_(std::move(inner)) {}
    ~Recorder() override {
        if (!sent_) cache_.keep(key_, http::Response::empty(0));
    }
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;

    void send(http::Response response) override {
        if (sent_.exchange(true)) return;
        cache_.keep(key_, response);
        inner_(std::move(response));
    }
    /// The answer is kept where it is made: that happens also when the client is gone.
    void send_later(std::function<http::Response()> make) override {
        if (sent_.exchange(true)) return;
        inner_.later([&cache = cache_, key = key_, make = std::move(make)] {
            http::Response response = http::Response::empty(0);
            try {
                response = make();
            } catch (...) {
                cache.keep(key, response);
                throw;
            }
            cache.keep(key, response);
            return response;
        });
    }

 private:
    IdempotencyCache& cache_;
    std::string key_;
    http::Reply inner_;
    std::atomic<bool> sent_{false};
};

http::Handler IdempotencyCache::wrap(http::Handler handler) {
    return [this, handler = std::move(handler)](const http::RequestPtr& request,
                                                http::Reply reply) {
        const auto given = request->header("idempotency-key");
        if (!given) return handler(request, std::move(reply));
        if (given->empty() || given->size() > kKeyBytesMax)
            return reply(error_response(
                *request, Error(ErrorCode::invalid_field, "Idempotency-Key has 1 to 255 bytes")));
        // A token is its principal; callers without one share the anonymous room of an address.
        const auto authorization = request->header("authorization");
        const std::string principal =
            authorization ? std::string(*authorization) : "anonymous " + request->remote_address;
        const std::string key = ledger::base::to_hex(ledger::base::sha256(
            as_bytes(request->path + "\n" + principal + "\n" + std::string(*given))));
        const ledger::base::Hash32 fingerprint = ledger::base::sha256(as_bytes(request->body));
        {
            const std::lock_guard lock(mutex_);
            const ledger::base::TimeMs now_ms = clock_.now_ms();
            trim(now_ms);
            const auto [found, is_new] = entries_.try_emplace(key);
            Entry& entry = found->second;
            if (!is_new && entry.fingerprint != fingerprint) {
                http::Response refusal = error_response(
                    *request, Error(ErrorCode::idempotency_conflict,
                                    "the Idempotency-Key was used with another body"));
                refusal.status = 422;
                return reply(std::move(refusal));
            }
            if (!is_new && !entry.done)
                return reply(error_response(
                    *request, Error(ErrorCode::idempotency_conflict,
                                    "the first request with this key is still running")));
            if (!is_new) {
                http::Response again = entry.response;
                again.header("idempotent-replayed", "true");
                return reply(std::move(again));
            }
            entry.fingerprint = fingerprint;
            entry.until_ms = now_ms + kKeepMs;
            order_.push_back(key);
        }
        handler(request, http::Reply(std::make_shared<Recorder>(*this, key, std::move(reply))));
    };
}

void IdempotencyCache::keep(const std::string& key, const http::Response& response) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key);
    if (found == entries_.end()) return;
    const bool success = response.status >= 200 && response.status < 300 && !response.stream;
    if (!success) {
        entries_.erase(found);
        return;
    }
    found->second.done = true;
    found->second.response = response;
    bytes_ += response.body.size();
}

void IdempotencyCache::trim(ledger::base::TimeMs now_ms) {
    while (!order_.empty()) {
        const auto oldest = entries_.find(order_.front());
        if (oldest != entries_.end()) {
            const bool keep = oldest->second.until_ms > now_ms && entries_.size() < kEntriesMax &&
                              bytes_ < kBytesMax;
            if (keep) return;
            bytes_ -= std::min(bytes_, oldest->second.response.body.size());
            entries_.erase(oldest);
        }
        order_.pop_front();
    }
}

}  // namespace marketplace::api

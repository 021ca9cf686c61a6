// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/job_keys.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marketplace::cli {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::to_hex;
using ledger::crypto::PublicKey;
using nlohmann::json;

constexpr std::chrono::seconds kGiveEvery{2};

/// Asking again may help.
bool may_get_better(ErrorCode code) {
    return code == ErrorCode::unavailable || code == ErrorCode::timeout ||
           code == ErrorCode::rate_limited || code == ErrorCode::queue_full;
}

bool wants_key(const json& lease) {
    const std::string state = lease.value("state", "");
    return state == "matched" || state == "open" || state == "running";
}

}  // namespace

Result<PublicKey> parse_reader(std::string_view public_key, const Address& worker) {
    const auto bytes = ledger::base::parse_hex(public_key, PublicKey{}.size());
    PublicKey out{};
    if (bytes && bytes->size() == out.size()) {
        std::copy(bytes->begin(), bytes->end(), out.begin());
        if (ledger::crypto::address_of(out) == worker) return out;
    }
    return fail(ErrorCode::audit_failed,
                fmt::format("the market gave another public key than that of the lease's worker "
                            "{}: the data key was not given",
                            ledger::crypto::to_checksum(worker)));
}

Result<std::optional<KeyGiver>> KeyGiver::make(Context& context, const std::string& job) {
    TRY_ASSIGN(auto seal, JobSeal::find(context, job));
    if (!seal) return std::optional<KeyGiver>();
    return std::optional<KeyGiver>(KeyGiver(context, job, std::move(*seal)));
}

Result<void> KeyGiver::give_to(const Hash32& lease, const Address& worker) {
    const std::string account = ledger::crypto::to_checksum(worker);
    const auto answer =
        context_->market().get("/v1/accounts/" + account + "/public-key", Auth::kNone);
    if (!answer && answer.error().code() == ErrorCode::not_found)
        return fail(ErrorCode::unavailable,
                    fmt::format("the worker {} is not signed in at the market now", account));
    if (!answer) return tl::make_unexpected(answer.error());
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(*answer, "public_key"));
    TRY_ASSIGN(const PublicKey reader, parse_reader(text, worker));
    TRY_ASSIGN(const auto wrapped, seal_.wrap(reader, lease));
    TRY(context_->market().put(fmt::format("/v1/jobs/{}/keys/{}", job_, to_hex(lease)),
                               {{"wrapped_key", to_hex(wrapped)}}, Auth::kSession));
    return {};
}

Result<std::vector<std::string>> KeyGiver::give() {
    TRY_ASSIGN(const json leases,
               context_->market().get("/v1/jobs/" + job_ + "/leases", Auth::kNone));
    std::vector<std::string> out;
    std::optional<Error> trouble;
    for (const json& lease : leases.value("data", json::array())) {
        if (!wants_key(lease)) continue;
        TRY_ASSIGN(const Hash32 id, ledger::base::parse_fixed<Hash32>(lease.value("lease", "")));
        TRY_ASSIGN(const Address worker, ledger::crypto::parse_address(lease.value("worker", "")));
        if (given_.contains(id)) continue;
        const auto given = give_to(id, worker);
        if (given) {
            given_.insert(id);
            out.push_back(to_hex(id));
        } else if (!trouble) {
            trouble = given.error();
        }
    }
    if (trouble) return tl::make_unexpected(*trouble);
    return out;
}

Result<void> KeyGiver::keep_giving(Urgency urgency) {
    const auto now = std::chrono::steady_clock::now();
    if (urgency == Urgency::kWhenDue && now < next_) return {};
    next_ = now + kGiveEvery;
    const std::size_t before = given_.size();
    const auto given = give();
    if (given_.size() > before && !context_->json())
        context_->messages.line(fmt::format("data key given to {} lease{}", given_.size() - before,
                                            given_.size() - before == 1 ? "" : "s"));
    if (given) {
        told_.clear();
        return {};
    }
    if (!may_get_better(given.error().code())) return tl::make_unexpected(given.error());
    if (told_ != given.error().detail() && !context_->json())
        context_->messages.line("no data key given yet: " + given.error().detail());
    told_ = given.error().detail();
    return {};
}

}  // namespace marketplace::cli

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/app/inference_router.hpp"

#include "ledger/base/checked.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/limits.hpp"

#include <algorithm>
#include <limits>

namespace marketplace::app {
namespace {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

bool has_room(const domain::Lease* lease, std::uint64_t units) {
    return lease != nullptr && lease->state == domain::LeaseState::kRunning &&
           lease->max_units - lease->units >= units;
}

/// The most tokens a request can take.
struct Units {
    std::uint64_t input = 0;
    std::uint64_t output = 0;
};

Units units_max(const api::InferenceRequest& request) {
    if (!request.embed.empty()) return {wire::embed_tokens_max(request.embed), 0};
    return {wire::input_tokens_max(request.prompt, request.messages),
            request.sampling.max_tokens * request.sampling.choices};
}

/// What so many tokens cost at most: the total of a lease is rounded, so may be each part of it.
std::uint64_t cost_max(std::uint64_t tokens, std::uint64_t price_atoms) {
    const std::uint64_t scale = ledger::eth::unit_scale(ledger::eth::UnitKind::kOutputToken);
    return ledger::base::mul_div_up(tokens, price_atoms, scale)
        .value_or(std::numeric_limits<std::uint64_t>::max());
}

}  // namespace

Result<std::uint64_t> InferenceRouter::most_atoms(const api::InferenceRequest& request) const {
    using ledger::eth::amount_for;
    using ledger::eth::UnitKind;
    const Units most = units_max(request);
    bool found = false;
    std::uint64_t out = 0;
    const std::scoped_lock lock(mutex_);
    for (const auto& [lease, endpoint] : endpoints_) {
        if (endpoint.buyer != request.buyer || endpoint.model != request.model) continue;
        found = true;
        TRY_ASSIGN(const std::uint64_t input,
                   amount_for(UnitKind::kInputToken, most.input, endpoint.input_price_atoms));
        TRY_ASSIGN(const std::uint64_t output,
                   amount_for(UnitKind::kOutputToken, most.output, endpoint.price_atoms));
        out = std::max(out, input + output);
    }
    if (!found) return fail(ErrorCode::no_capacity, "nobody serves this model to callers who pay");
    return out;
}

std::uint64_t InferenceRouter::start(api::InferenceRequest request, OnToken on_token,
                                     OnDone on_done) {
    std::uint64_t id = 0;
    {
        const std::scoped_lock lock(mutex_);
        id = next_id_++;
        Completion completion;
        completion.request = std::move(request);
        completion.max_tokens_wanted = completion.request.sampling.max_tokens;
        completion.on_token = std::move(on_token);
        completion.on_done = std::move(on_done);
        completion.heard_ms = clock_.now_ms();
        completions_.emplace(id, std::move(completion));
    }
    route(id);
    return id;
}

void InferenceRouter::route(std::uint64_t id) {
    const bool asked = engine_.query([this, id](const engine::Engine& e) { route_with(id, e); });
    if (!asked) finish(id, fail(ErrorCode::queue_full, "the market is busy"));
}

std::optional<InferenceRouter::Endpoint> InferenceRouter::pick(const Completion& completion,
                                                               const engine::Engine& engine) {
    const Endpoint* best = nullptr;
    const auto worth = [](const Endpoint& e) {
        return std::tie(e.in_flight, e.price_atoms, e.output_lease);
    };
    for (const auto& [lease, endpoint] : endpoints_) {
        if (endpoint.buyer != completion.request.buyer ||
            endpoint.model != completion.request.model ||
            completion.tried.contains(endpoint.worker))
            continue;
        const Units units = units_max(completion.request);
        if (!has_room(engine.find_lease(endpoint.output_lease), units.output) ||
            !has_room(engine.find_lease(endpoint.input_lease), units.input))
            continue;
        if (best == nullptr || worth(endpoint) < worth(*best)) best = &endpoint;
    }
    return best == nullptr ? std::optional<Endpoint>() : std::optional(*best);
}

wire::MarketMessage InferenceRouter::message_for(std::uint64_t id,
                                                 const api::InferenceRequest& request,
                                                 const Endpoint& endpoint) {
    if (!request.embed.empty())
        return wire::Embed{id, endpoint.input_lease, endpoint.output_lease, request.embed,
                           request.embed_dimensions};
    wire::Infer out;
    out.request = id;
    out.input_lease = endpoint.input_lease;
    out.output_lease = endpoint.output_lease;
    out.prompt = request.prompt;
    out.sampling = request.sampling;
    out.messages = request.messages;
    return out;
}

Result<void> InferenceRouter::hold_budget(Completion& completion, const Endpoint& endpoint) {
    api::InferenceRequest& request = completion.request;
    if (request.budget == nullptr) return {};
    request.sampling.max_tokens = completion.max_tokens_wanted;
    const Units units = units_max(request);
    const std::uint64_t input = cost_max(units.input, endpoint.input_price_atoms);
    const std::uint64_t output = cost_max(units.output, endpoint.price_atoms);
    const std::uint64_t all = ledger::base::checked_add(input, output)
                                  .value_or(std::numeric_limits<std::uint64_t>::max());
    const std::uint64_t held = request.budget->hold(all);
    completion.cut = held < all;
    if (!completion.cut) return {};
    const std::uint64_t scale = ledger::eth::unit_scale(ledger::eth::UnitKind::kOutputToken);
    const std::uint64_t tokens =
        held <= input
            ? 0
            : ledger::base::mul_div_down(held - input, scale, endpoint.price_atoms).value_or(0);
    request.sampling.max_tokens =
        std::min(completion.max_tokens_wanted, tokens / request.sampling.choices);
    if (request.embed.empty() && request.sampling.max_tokens > 0) return {};
    request.budget->settle(0);
    return fail(ErrorCode::delegation_cap_exceeded,
                "this request may cost " + std::to_string(all) +
                    " atoms, and the spend cap of the API key leaves " + std::to_string(held));
}

// On the engine thread.
void InferenceRouter::route_with(std::uint64_t id, const engine::Engine& engine) {
    std::optional<wire::MarketMessage> message;
    Result<void> affordable;
    domain::Address worker;
    bool aborted = false;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(id);
        if (found == completions_.end()) return;
        Completion& completion = found->second;
        aborted = completion.aborted;
        const auto endpoint = aborted ? std::nullopt : pick(completion, engine);
        if (endpoint) affordable = hold_budget(completion, *endpoint);
        if (endpoint && affordable) {
            worker = endpoint->worker;
            completion.endpoint = endpoint->output_lease;
            completion.worker = worker;
            completion.tried.insert(worker);
            ++endpoints_.at(endpoint->output_lease).in_flight;
            message = message_for(id, completion.request, *endpoint);
        }
    }
    if (aborted) return finish(id, fail(ErrorCode::cancelled, "it was ended before it began"));
    if (!affordable) return finish(id, tl::make_unexpected(affordable.error()));
    if (!message)
        return finish(id, fail(ErrorCode::no_capacity,
                               "no open serving lease of yours has room for this request"));
    if (wire::encode(*message).size() > ledger::base::limits::kWsMessageBytes)
        return finish(id, fail(ErrorCode::too_large,
                               "a request takes at most 64 KiB on its way to the worker"));
    if (!gateway_.send(worker, *message))
        retry_or_fail(id, Error(ErrorCode::worker_lost, "the worker is away"));
}

void InferenceRouter::abort(std::uint64_t id) {
    domain::Address worker;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(id);
        if (found == completions_.end()) return;
        worker = found->second.worker;
        found->second.aborted = true;
        // What was generated is still billed: the worker ends it with a normal "done".
        found->second.on_token = [](const wire::Token&) {};
    }
    if (!worker.is_zero()) gateway_.send(worker, wire::AbortCompletion{id});
}

void InferenceRouter::pace(std::uint64_t id, Pace pace) {
    domain::Address worker;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(id);
        if (found == completions_.end()) return;
        worker = found->second.worker;
        found->second.held = pace == Pace::kHold;
        found->second.heard_ms = clock_.now_ms();
    }
    if (!worker.is_zero())
        gateway_.send(worker, wire::HoldCompletion{id, pace == Pace::kHold ? 1U : 0U});
}

void InferenceRouter::tick() {
    std::vector<std::uint64_t> silent;
    std::vector<std::uint64_t> unread;
    {
        const std::scoped_lock lock(mutex_);
        const domain::TimeMs now = clock_.now_ms();
        for (auto& [id, completion] : completions_) {
            if (now <= completion.heard_ms + (completion.held ? kHeldMs : kSilenceMs)) continue;
            if (!completion.held) {
                silent.push_back(id);
                continue;
            }
            // Its worker is not at fault, and says what it came to.
            completion.held = false;
            completion.heard_ms = now;
            unread.push_back(id);
        }
    }
    for (const std::uint64_t id : unread)
        abort(id);
    for (const std::uint64_t id : silent) {
        abort(id);
        finish(id, fail(ErrorCode::timeout, "the worker fell silent"));
    }
}

void InferenceRouter::on_serving(const domain::Address& worker, const domain::Hash32& output_lease,
                                 const std::string& model) {
    const bool asked = engine_.query([this, worker, output_lease, model](const engine::Engine& e) {
        const domain::Lease* output = e.find_lease(output_lease);
        const engine::Job* job = output == nullptr ? nullptr : e.find_job(output->job);
        if (job == nullptr || output->worker != worker) return;
        Endpoint endpoint;
        endpoint.worker = worker;
        endpoint.buyer = output->buyer;
        endpoint.model = model;
        endpoint.output_lease = output_lease;
        endpoint.price_atoms = output->price_atoms;
        std::uint64_t input_billed = 0;
        for (const domain::Hash32& id : job->leases) {
            const domain::Lease* lease = e.find_lease(id);
            if (lease != nullptr && lease->worker == worker &&
                lease->unit_kind == ledger::eth::UnitKind::kInputToken &&
                lease->state <= domain::LeaseState::kRunning) {
                endpoint.input_lease = id;
                endpoint.input_price_atoms = lease->price_atoms;
                input_billed = lease->amount_atoms;
            }
        }
        if (endpoint.input_lease.is_zero()) return;
        const std::scoped_lock lock(mutex_);
        billed_atoms_[output_lease] = output->amount_atoms;
        billed_atoms_[endpoint.input_lease] = input_billed;
        endpoints_[output_lease] = std::move(endpoint);
    });
    if (!asked) gateway_.send(worker, wire::MarketError{"queue_full", "say `serving` again"});
}

void InferenceRouter::on_token(const domain::Address& worker, const wire::Token& token) {
    OnToken deliver;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(token.request);
        if (found == completions_.end() || found->second.worker != worker) return;
        if (token.choice >= found->second.request.sampling.choices) return;
        found->second.started = true;
        found->second.heard_ms = clock_.now_ms();
        deliver = found->second.on_token;
    }
    deliver(token);
}

void InferenceRouter::on_embedding(const domain::Address& worker,
                                   const wire::Embedding& embedding) {
    const std::scoped_lock lock(mutex_);
    const auto found = completions_.find(embedding.request);
    if (found == completions_.end() || found->second.worker != worker) return;
    std::vector<std::string>& vectors = found->second.result.vectors;
    found->second.heard_ms = clock_.now_ms();
    if (embedding.index == vectors.size() && vectors.size() < found->second.request.embed_count)
        vectors.push_back(embedding.vector);
}

void InferenceRouter::on_done(const domain::Address& worker, const wire::CompletionDone& done) {
    bool fits = true;
    std::shared_ptr<api::Budget> budget;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(done.request);
        const bool expected = found != completions_.end() && found->second.worker == worker;
        if (expected) {
            Completion& completion = found->second;
            completion.heard_ms = clock_.now_ms();
            completion.result.prompt_tokens = done.prompt_tokens;
            completion.result.completion_tokens = done.completion_tokens;
            completion.result.finish_reasons = done.finish_reasons;
            completion.result.cut_by_budget =
                completion.cut && std::find(done.finish_reasons.begin(), done.finish_reasons.end(),
                                            "length") != done.finish_reasons.end();
            completion.receipts_left = done.receipts.size();
            completion.settling = true;
            budget = completion.request.budget;
            const api::InferenceRequest& request = completion.request;
            const std::size_t choices = request.embed.empty() ? request.sampling.choices : 0;
            fits = done.finish_reasons.size() == choices &&
                   completion.result.vectors.size() == request.embed_count;
        }
    }
    if (!fits)
        finish(done.request, fail(ErrorCode::worker_failed, "the worker's answer is incomplete"));
    if (done.receipts.empty())
        return finish(done.request, fail(ErrorCode::worker_failed, "no receipt came"));
    // Receipts count even when nobody waits for the completion any more: the work was done.
    for (const wire::SignedReceipt& receipt : done.receipts)
        gateway_.take_receipt(
            worker, receipt,
            [this, id = done.request, body = receipt.receipt, budget](const Result<void>& result) {
                receipt_settled(id, body, budget, result);
            });
}

void InferenceRouter::receipt_settled(std::uint64_t id, const ledger::eth::Receipt& receipt,
                                      const std::shared_ptr<api::Budget>& budget,
                                      const Result<void>& result) {
    std::optional<api::InferenceDone> complete;
    std::uint64_t late = 0;
    {
        const std::scoped_lock lock(mutex_);
        std::uint64_t cost = 0;
        if (result) {
            std::uint64_t& billed = billed_atoms_[receipt.lease];
            cost =
                receipt.cumulative_amount_atoms - std::min(billed, receipt.cumulative_amount_atoms);
            billed = std::max(billed, receipt.cumulative_amount_atoms);
        }
        const auto found = completions_.find(id);
        if (found == completions_.end()) late = cost;
        Completion* completion = found == completions_.end() ? nullptr : &found->second;
        if (completion != nullptr && result) {
            completion->result.cost_atoms += cost;
            completion->result.receipts.push_back(
                ledger::base::to_hex(ledger::eth::struct_hash(receipt)));
        }
        if (completion != nullptr) {
            if (completion->receipts_left > 0) --completion->receipts_left;
            if (completion->receipts_left == 0) complete = completion->result;
        }
    }
    if (late > 0 && budget) budget->settle(late);
    if (!result) return finish(id, tl::make_unexpected(result.error()));
    if (complete) finish(id, std::move(*complete));
}

void InferenceRouter::on_refused(const domain::Address& worker,
                                 const wire::CompletionRefused& refused) {
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(refused.request);
        if (found == completions_.end() || found->second.worker != worker) return;
    }
    // What is wrong with the request itself no other worker of the model would take.
    for (const ErrorCode code :
         {ErrorCode::context_length_exceeded, ErrorCode::unsupported, ErrorCode::invalid_request,
          ErrorCode::invalid_field, ErrorCode::out_of_range, ErrorCode::job_limit})
        if (refused.code == to_string(code))
            return finish(refused.request, fail(code, refused.detail));
    retry_or_fail(refused.request, Error(ErrorCode::worker_failed, "the worker refused"));
}

void InferenceRouter::on_worker_gone(const domain::Address& worker) {
    std::vector<std::uint64_t> affected;
    {
        const std::scoped_lock lock(mutex_);
        std::erase_if(endpoints_, [&](const auto& e) { return e.second.worker == worker; });
        for (const auto& [id, completion] : completions_)
            if (completion.worker == worker && !completion.settling) affected.push_back(id);
    }
    for (const std::uint64_t id : affected)
        retry_or_fail(id, Error(ErrorCode::worker_lost, "the worker went away"));
}

// A buyer who has seen nothing yet gets another worker; one who has must know.
void InferenceRouter::retry_or_fail(std::uint64_t id, const Error& error) {
    bool retry = false;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(id);
        if (found == completions_.end()) return;
        retry = !found->second.started;
        if (const auto e = endpoints_.find(found->second.endpoint); e != endpoints_.end())
            e->second.in_flight -= std::min<std::uint64_t>(e->second.in_flight, 1);
        found->second.endpoint = {};
        found->second.worker = {};
        found->second.result = {};
        if (found->second.request.budget && retry) found->second.request.budget->settle(0);
    }
    if (retry) return route(id);
    finish(id, tl::make_unexpected(error));
}

void InferenceRouter::finish(std::uint64_t id, Result<api::InferenceDone> result) {
    OnDone done;
    std::shared_ptr<api::Budget> budget;
    std::uint64_t paid = 0;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = completions_.find(id);
        if (found == completions_.end()) return;
        budget = std::move(found->second.request.budget);
        paid = found->second.result.cost_atoms;
        if (const auto e = endpoints_.find(found->second.endpoint); e != endpoints_.end())
            e->second.in_flight -= std::min<std::uint64_t>(e->second.in_flight, 1);
        done = std::move(found->second.on_done);
        completions_.erase(found);
    }
    if (budget) budget->settle(paid);
    done(std::move(result));
}

}  // namespace marketplace::app

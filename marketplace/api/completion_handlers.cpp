// SPDX-License-Identifier: Apache-2.0
// OpenAI-exact completions, streamed or whole.
#include "ledger/base/base64.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/api/completion_input.hpp"
#include "marketplace/api/handlers.hpp"
#include "marketplace/api/key_use.hpp"
#include "marketplace/api/token_view.hpp"
#include "marketplace/wire/document.hpp"
#include "marketplace/wire/problem_json.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;

namespace {

/// A whole answer may take this long; the port itself notices a worker that falls silent.
constexpr std::chrono::minutes kWholeAnswerTimeout{15};

/// What may wait for a slow client before its completion is held.
constexpr std::size_t kHoldBytes = 64UL * 1024;

/// Whether the model has words and a chat template of its own.
enum class FromFolder : std::uint8_t { kNo, kYes };

/// A payment that does not count after all: in the protocol's words where it has some.
[[nodiscard]] http::Response refuse_payment(const Services& services, const http::Request& request,
                                            std::uint64_t atoms, const Error& error) {
    PaymentRefusal refusal;
    switch (error.code()) {
        case ErrorCode::insufficient_funds:
            refusal.reason = "insufficient_funds";
            break;
        case ErrorCode::nonce_used:
        case ErrorCode::chain_refused:
            refusal.reason = "invalid_transaction_state";
            break;
        case ErrorCode::wrong_state:
            refusal = {412, "permit2_allowance_required", error.detail()};
            break;
        default:
            return error_response(request, error);
    }
    return payment_required(services.context.payments->terms(), request, atoms, refusal);
}

/// One completion between the port's callbacks (any thread) and the client. Nothing is answered
/// before the first token or the end, so that a refusal still has its HTTP status.
class Completion : public std::enable_shared_from_this<Completion> {
 public:
    Completion(Services& services, http::RequestPtr request, http::Reply reply,
               CompletionInput input, std::shared_ptr<LiveKey> key)
        : services_(services),
          request_(std::move(request)),
          reply_(std::move(reply)),
          input_(std::move(input)),
          key_(std::move(key)),
          created_s_(services.context.clock.now_ms() / 1000),
          choices_(input_.sampling.choices) {
        const auto random = ledger::crypto::random_bytes(12);
        id_ = input_.kind == CompletionKind::kChat ? "chatcmpl-" : "cmpl-";
        for (const std::uint8_t byte : random)
            id_ += fmt::format("{:02x}", byte);
    }

    /// What the port is asked for.
    [[nodiscard]] InferenceRequest make_request(const domain::Address& buyer,
                                                FromFolder folder) const {
        InferenceRequest request;
        request.buyer = buyer;
        request.model = input_.model;
        request.prompt = input_.prompt;
        request.sampling = input_.sampling;
        if (folder == FromFolder::kYes) {
            if (input_.kind == CompletionKind::kChat) {
                request.messages = input_.messages;
                request.prompt.clear();
            }
            if (!input_.has_temperature) request.sampling.temperature.clear();
            if (!input_.has_top_p) request.sampling.top_p.clear();
        }
        return request;
    }

    /// Paid for by this, of which a call can take `atoms` at most. Nothing leaves before it is on
    /// chain, but for a stream that is paid up to an amount. Before `start`.
    void pay_with(const Payment& payment, std::uint64_t atoms,
                  std::shared_ptr<PaymentsUnderWay::Place> place) {
        payment_ = PaidBy{payment, atoms, std::move(place)};
    }

    void start(InferenceRequest request) {
        request.budget = make_budget(services_, key_);
        const auto self = shared_from_this();
        if (key_) {
            const std::weak_ptr<Completion> weak = self;
            listener_ = key_->listen([weak] {
                if (const auto live = weak.lock()) live->end_early("api_key_revoked");
            });
            watch_delegation(services_, key_);
        }
        const std::uint64_t id = services_.context.inference.start(
            std::move(request), [self](const wire::Token& token) { self->on_token(token); },
            [self](Result<InferenceDone> done) { self->on_done(std::move(done)); });
        bool abort_now = false;
        {
            const std::lock_guard lock(mutex_);
            port_id_ = id;
            abort_now = (client_gone_ || !ended_by_.empty()) && !ended_;
        }
        if (abort_now) services_.context.inference.abort(id);
    }

 private:
    /// What came of one choice so far.
    struct Choice {
        std::string text;              // whole answers
        Json content = Json::array();  // chats with log probabilities
        TextLogprobs logprobs;         // text completions with them
        bool begun = false;            // streams: something was sent
    };

    /// The key's time may be over, or its delegation revoked; that it was revoked, its listener
    /// hears.
    void check_key() {
        if (!key_) return;
        if (key_->has_expired(services_.context.clock.now_ms())) end_early("api_key_expired");
        watch_delegation(services_, key_);
    }

    [[nodiscard]] const UptoPayment* upto() const {
        return payment_ ? std::get_if<UptoPayment>(&payment_->payment) : nullptr;
    }

    /// What is not taken while the payment is valid is never taken.
    void check_payment_time() {
        const UptoPayment* payment = upto();
        if (payment == nullptr) return;
        const std::uint64_t now_s = services_.context.clock.now_ms() / 1000;
        if (now_s + kUptoSettlingS >= payment->permit.deadline_s) end_early("payment_expires");
    }

    /// Has the payment taken for an answer that does not wait for it.
    void charge_given(std::uint64_t atoms) {
        const auto taken = [self = shared_from_this()](const Result<domain::Hash32>&) {};
        services_.context.payments->charge(*upto(), atoms, Answer::kGiven, taken);
    }

    /// Stops generating. What was generated is paid and delivered, and the answer ends as any
    /// other.
    void end_early(const char* reason) {
        std::unique_lock lock(mutex_);
        if (ended_ || !ended_by_.empty()) return;
        ended_by_ = reason;
        const std::uint64_t id = port_id_;
        lock.unlock();
        if (id != 0) services_.context.inference.abort(id);
    }

    void on_token(const wire::Token& token) {
        check_key();
        check_payment_time();
        std::unique_lock lock(mutex_);
        if (ended_ || token.choice >= choices_.size()) return;
        Choice& choice = choices_[token.choice];
        if (!token.logprobs.empty() && input_.sampling.logprobs > 0) {
            if (input_.kind == CompletionKind::kChat)
                choice.content.push_back(chat_logprob(token.logprobs));
            else
                choice.logprobs.add(token.logprobs);
        }
        if (!input_.stream) {
            choice.text += token.text;
            return;
        }
        std::string text = token.text;
        std::string events;
        if (!std::exchange(choice.begun, true)) {
            if (input_.kind == CompletionKind::kChat) events += event(first_delta(token.choice));
            if (input_.echo) text = input_.prompt + text;
        }
        events += event(piece(token.choice, text, nullptr));
        write(std::move(events), lock);
    }

    void on_done(Result<InferenceDone> done) {
        if (key_) key_->unlisten(listener_);
        std::unique_lock lock(mutex_);
        if (ended_) return;
        ended_ = true;
        if (done) note_end(*done);
        if (!done && !ended_by_.empty() && !answered_)
            done = fail(ErrorCode::unauthorized, "this API key is no longer valid");
        if (!done) {
            if (upto() != nullptr) charge_given(0);
            fail_with(done.error(), lock);
            return;
        }
        if (upto() != nullptr)
            charged_atoms_ =
                upto_charge(services_.context.payments->terms(), done->cost_atoms, payment_->atoms);
        if (!input_.stream) {
            http::Response response = json_response(whole(*done));
            add_headers(response);
            lock.unlock();
            release(std::move(response));
            return;
        }
        std::string events;
        for (std::size_t i = 0; i < choices_.size(); ++i) {
            if (!choices_[i].begun && input_.kind == CompletionKind::kChat)
                events += event(first_delta(i));
            Json last = piece(i, "", done->finish_reasons[i].c_str());
            if (!input_.include_usage && i + 1 == choices_.size()) last["millrace"] = bill(*done);
            events += event(last);
        }
        if (input_.include_usage) {
            Json usage_chunk = chunk(Json::array());
            usage_chunk["usage"] = usage(*done);
            usage_chunk["millrace"] = bill(*done);
            events += event(usage_chunk);
        }
        events += "data: [DONE]\n\n";
        closing_ = true;
        if (upto() != nullptr) charge_given(charged_atoms_);
        write(std::move(events), lock);
    }

    /// OpenAI's clients know one word for an answer that was cut.
    void note_end(InferenceDone& done) {
        if (done.cut_by_budget && ended_by_.empty()) ended_by_ = "spend_cap_reached";
        if (ended_by_.empty()) return;
        for (std::string& reason : done.finish_reasons)
            if (reason != "stop") reason = "length";
    }

    /// Before the first byte an HTTP error; afterwards an error event, as OpenAI does.
    void fail_with(const Error& error, std::unique_lock<std::mutex>& lock) {
        if (!answered_) {
            lock.unlock();
            reply_(error_response(*request_, error));
            return;
        }
        closing_ = true;
        write("data: " + wire::openai_error_json(error, wire::http_status(error.code())) + "\n\n",
              lock);
    }

    /// Sends, or keeps until the stream is open; opens it at the first call.
    void write(std::string events, std::unique_lock<std::mutex>& lock) {
        if (writer_) {
            const bool alive = writer_->write(std::move(events));
            if (closing_) writer_->close();
            if (alive && !ended_ && !held_ && writer_->queued_bytes() > kHoldBytes) {
                held_ = true;
                services_.context.inference.pace(port_id_, InferencePort::Pace::kHold);
            }
            if (!alive && !closing_) leave(lock);
            return;
        }
        pending_ += events;
        if (answered_) {
            // The payment is on its way into a block, or the head to the client.
            if (!ended_ && !held_ && pending_.size() > kHoldBytes) {
                held_ = true;
                services_.context.inference.pace(port_id_, InferencePort::Pace::kHold);
            }
            return;
        }
        answered_ = true;
        http::Response response = http::Response::events(make_stream());
        add_headers(response);
        lock.unlock();
        release(std::move(response));
    }

    /// Answers; a call that is paid for by itself, when its payment is on chain.
    void release(http::Response response) {
        if (!payment_ || (upto() != nullptr && input_.stream)) return reply_(std::move(response));
        PaymentPort& payments = *services_.context.payments;
        const std::uint64_t atoms = upto() != nullptr ? charged_atoms_ : payment_->atoms;
        const auto waiting = std::make_shared<http::Response>(std::move(response));
        auto done = [self = shared_from_this(), waiting, atoms,
                     &payments](const Result<domain::Hash32>& transaction) {
            if (!transaction) return self->refuse_unpaid(transaction.error());
            const std::string text = payment_response_json(
                payments.terms(), self->payment_->payment, atoms, *transaction);
            waiting->header("PAYMENT-RESPONSE",
                            ledger::base::to_base64(ledger::base::as_bytes(text)));
            self->reply_(std::move(*waiting));
        };
        if (upto() != nullptr)
            payments.charge(*upto(), atoms, Answer::kHeldBack, std::move(done));
        else
            payments.settle(std::get<TokenPayment>(payment_->payment), std::move(done));
    }

    /// The work was done, and its payment did not come: nobody gets to see it.
    void refuse_unpaid(const Error& error) {
        std::unique_lock lock(mutex_);
        leave(lock);
        reply_(refuse_payment(services_, *request_, payment_->atoms, error));
    }

    [[nodiscard]] std::shared_ptr<http::StreamBody> make_stream() {
        auto stream = std::make_shared<http::StreamBody>();
        stream->on_start = [self = shared_from_this()](http::StreamWriterPtr writer) {
            const std::lock_guard lock(self->mutex_);
            self->writer_ = std::move(writer);
            if (!self->pending_.empty()) self->writer_->write(std::move(self->pending_));
            self->pending_.clear();
            if (self->closing_) self->writer_->close();
        };
        // Comes while nothing is queued.
        stream->on_tick = [self = shared_from_this()](http::StreamWriter&) {
            const std::lock_guard lock(self->mutex_);
            if (!std::exchange(self->held_, false) || self->ended_) return;
            self->services_.context.inference.pace(self->port_id_, InferencePort::Pace::kGo);
        };
        stream->on_gone = [self = shared_from_this()] {
            std::unique_lock lock(self->mutex_);
            self->leave(lock);
        };
        return stream;
    }

    /// The client is gone: stop paying for tokens nobody reads.
    void leave(std::unique_lock<std::mutex>& lock) {
        client_gone_ = true;
        const bool abort_now = !ended_ && port_id_ != 0;
        const std::uint64_t id = port_id_;
        lock.unlock();
        if (abort_now) services_.context.inference.abort(id);
    }

    void add_headers(http::Response& response) const {
        if (!input_.ignored.empty())
            response.header("x-ignored-parameters",
                            fmt::format("{}", fmt::join(input_.ignored, ", ")));
    }

    [[nodiscard]] static std::string event(const Json& document) {
        return "data: " + ledger::rpc::to_text(document) + "\n\n";
    }

    [[nodiscard]] Json chunk(Json choices) const {
        Json out;
        out["id"] = id_;
        out["object"] =
            input_.kind == CompletionKind::kChat ? "chat.completion.chunk" : "text_completion";
        out["created"] = created_s_;
        out["model"] = input_.model;
        out["choices"] = std::move(choices);
        if (input_.include_usage) out["usage"] = nullptr;
        return out;
    }

    [[nodiscard]] Json first_delta(std::size_t index) const {
        Json choice{{"index", index},
                    {"delta", {{"role", "assistant"}, {"content", ""}}},
                    {"logprobs", nullptr},
                    {"finish_reason", nullptr}};
        return chunk(Json::array({std::move(choice)}));
    }

    /// With the log probabilities that came since the last one.
    [[nodiscard]] Json piece(std::size_t index, const std::string& text,
                             const char* finish_reason) {
        Json choice{{"index", index}, {"logprobs", logprobs(choices_[index])}};
        choice["finish_reason"] = finish_reason == nullptr ? Json(nullptr) : Json(finish_reason);
        if (input_.kind == CompletionKind::kText)
            choice["text"] = text;
        else
            choice["delta"] = finish_reason == nullptr ? Json{{"content", text}} : Json::object();
        return chunk(Json::array({std::move(choice)}));
    }

    [[nodiscard]] Json logprobs(Choice& choice) const {
        if (input_.kind == CompletionKind::kText) return choice.logprobs.take();
        if (choice.content.empty()) return nullptr;
        return {{"content", std::exchange(choice.content, Json::array())}, {"refusal", nullptr}};
    }

    [[nodiscard]] static Json usage(const InferenceDone& done) {
        return {{"prompt_tokens", done.prompt_tokens},
                {"completion_tokens", done.completion_tokens},
                {"total_tokens", done.prompt_tokens + done.completion_tokens}};
    }
    /// What it cost and which receipts prove it; OpenAI's clients pass it by.
    [[nodiscard]] Json bill(const InferenceDone& done) const {
        Json out{{"cost_atoms", std::to_string(done.cost_atoms)}, {"receipts", done.receipts}};
        if (!ended_by_.empty()) out["ended_by"] = ended_by_;
        if (upto() != nullptr) out["charged_atoms"] = std::to_string(charged_atoms_);
        return out;
    }

    [[nodiscard]] Json whole(const InferenceDone& done) {
        Json list = Json::array();
        for (std::size_t i = 0; i < choices_.size(); ++i) {
            Choice& from = choices_[i];
            Json choice{{"index", i},
                        {"finish_reason", done.finish_reasons[i]},
                        {"logprobs", logprobs(from)}};
            if (input_.kind == CompletionKind::kChat)
                choice["message"] = {
                    {"role", "assistant"}, {"content", from.text}, {"refusal", nullptr}};
            else
                choice["text"] = input_.echo ? input_.prompt + from.text : from.text;
            list.push_back(std::move(choice));
        }
        Json out;
        out["id"] = id_;
        out["object"] =
            input_.kind == CompletionKind::kChat ? "chat.completion" : "text_completion";
        out["created"] = created_s_;
        out["model"] = input_.model;
        out["choices"] = std::move(list);
        out["usage"] = usage(done);
        out["millrace"] = bill(done);
        return out;
    }

    struct PaidBy {
        Payment payment;
        std::uint64_t atoms = 0;  ///< at most
        std::shared_ptr<PaymentsUnderWay::Place> place;
    };

    Services& services_;
    const http::RequestPtr request_;
    const http::Reply reply_;
    const CompletionInput input_;
    std::optional<PaidBy> payment_;       ///< set before `start`
    std::uint64_t charged_atoms_ = 0;     ///< of a payment up to an amount; set at the end
    const std::shared_ptr<LiveKey> key_;  // null: a session asks
    const std::uint64_t created_s_;
    std::string id_;
    std::uint64_t listener_ = 0;  // of the key's end

    std::mutex mutex_;
    std::uint64_t port_id_ = 0;
    std::vector<Choice> choices_;
    std::string pending_;  // events before the stream is open
    http::StreamWriterPtr writer_;
    bool answered_ = false;
    bool ended_ = false;
    bool closing_ = false;
    bool client_gone_ = false;
    bool held_ = false;     // the client reads slowly, and the worker was told
    std::string ended_by_;  // why the market ended it; empty: it did not
};

/// The model exists, and the prompt fits it where that can be told here. On the desk.
[[nodiscard]] Result<FromFolder> check_model(Services& services, const CompletionInput& input) {
    const auto model = services.context.catalog.model(input.model);
    if (!model)
        return fail(ErrorCode::unknown_model, "The model '" + input.model + "' does not exist");
    const auto spec = wire::parse_job_spec(model->spec);
    if (spec && spec->folder) return FromFolder::kYes;
    if (!spec || spec->context == 0) return FromFolder::kNo;
    // Byte-level tokenizer: one token per byte. The worker slides its window over longer output.
    if (input.prompt.size() > spec->context)
        return fail(ErrorCode::context_length_exceeded,
                    fmt::format("This model's maximum context length is {} tokens; your messages "
                                "have {}",
                                spec->context, input.prompt.size()));
    return FromFolder::kNo;
}

[[nodiscard]] Result<CompletionInput> read_input(const http::Request& request,
                                                 CompletionKind kind) {
    TRY_ASSIGN(CompletionInput input, parse_completion(kind, request.body));
    if (!input.ignored.empty() && request.query_value("strict") == "true")
        return fail(ErrorCode::unknown_field,
                    "'" + input.ignored.front() + "' is not a known parameter");
    if (!input.has_seed) {
        for (const std::uint8_t byte : ledger::crypto::random_bytes(6))
            input.sampling.seed = input.sampling.seed * 256 + byte;
    }
    return input;
}

/// Says what the call costs, or serves it for the payment it brings: first the payment is checked,
/// then the work is done, then the payment is taken, then the answer goes out; a stream that is
/// paid up to an amount goes out meanwhile. On the desk.
void serve_paid(Services& services, const http::RequestPtr& request, const http::Reply& reply,
                const std::shared_ptr<Completion>& completion, FromFolder folder) {
    PaymentPort& payments = *services.context.payments;
    const PaymentTerms terms = payments.terms();
    InferenceRequest asked = completion->make_request(terms.pay_to, folder);
    const auto most = services.context.inference.most_atoms(asked);
    if (!most) return reply(error_response(*request, most.error()));
    const std::uint64_t atoms = std::max(*most, terms.least_atoms);
    const auto header = request->header("payment-signature");
    if (!header) return reply(payment_required(terms, *request, atoms));
    const auto payment =
        parse_payment(*header, terms, atoms, services.context.clock.now_ms() / 1000);
    if (!payment) return reply(payment_required(terms, *request, atoms, payment.error()));
    auto place = services.payments_under_way.enter(*payment);
    if (!place)
        return reply(refuse_payment(services, *request, atoms, Error(ErrorCode::nonce_used)));
    completion->pay_with(*payment, atoms, std::move(place));
    payments.check(*payment, [&services, request, reply, completion, atoms,
                              asked = std::move(asked)](const Result<void>& good) {
        if (!good) return reply(refuse_payment(services, *request, atoms, good.error()));
        completion->start(asked);
    });
}

void complete(Services& services, const http::RequestPtr& request, const http::Reply& reply,
              CompletionKind kind) {
    const bool pays = services.context.payments != nullptr && !request->header("authorization");
    const auto caller = pays ? Result<Caller>(Caller())
                             : services.context.auth.caller_of(*request, kScopeInference);
    if (!caller) return reply(error_response(*request, caller.error()));
    auto input = read_input(*request, kind);
    if (!input) return reply(error_response(*request, input.error()));
    const auto completion =
        std::make_shared<Completion>(services, request, reply, *input, caller->key);
    const bool queued = services.desk.post([&services, request, reply, completion, pays,
                                            input = std::move(*input), account = caller->account] {
        const auto folder = check_model(services, input);
        if (!folder) return reply(error_response(*request, folder.error()));
        if (pays) return serve_paid(services, request, reply, completion, *folder);
        completion->start(completion->make_request(account, *folder));
    });
    if (!queued) reply(error_response(*request, Error(ErrorCode::queue_full)));
}

}  // namespace

void add_completion_routes(RouteTable& table, Services& services) {
    http::RouteOptions options;
    options.handler_timeout = kWholeAnswerTimeout;
    RouteDoc text{http::Method::kPost, "/v1/completions",        "createCompletion",
                  "inference",         "OpenAI text completion", Access::kAccount};
    text.may_stream = true;
    text.request_schema = R"({"type":"object","required":["model","prompt"]})";
    table.add(
        std::move(text),
        [&services](const auto& request, const auto& reply) {
            complete(services, request, reply, CompletionKind::kText);
        },
        options);
    RouteDoc chat{http::Method::kPost, "/v1/chat/completions",   "createChatCompletion",
                  "inference",         "OpenAI chat completion", Access::kAccount};
    chat.may_stream = true;
    chat.request_schema = R"({"type":"object","required":["model","messages"]})";
    table.add(
        std::move(chat),
        [&services](const auto& request, const auto& reply) {
            complete(services, request, reply, CompletionKind::kChat);
        },
        options);
}

}  // namespace marketplace::api

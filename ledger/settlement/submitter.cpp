// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/submitter.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/checked.hpp"
#include "ledger/rpc/poll.hpp"

#include <algorithm>

namespace ledger::settlement {

using base::Error;
using base::ErrorCode;
using base::fail;
using base::Result;
using eth::U256;
using rpc::BlockTag;

namespace {

const base::SystemClock kSystemClock;

/// Whether a failed question leaves us not knowing (as opposed to a clear no).
bool is_unknown(const Error& error) {
    return error.code() != ErrorCode::chain_refused;
}

U256 raised(const U256& fee, std::uint32_t percent) {
    return fee + fee * percent / 100 + 1;
}

/// Checks that signed bytes are exactly what was asked for, from whom it was asked.
Result<void> check_signed(base::ByteView raw, const eth::Transaction& wanted,
                          const base::Address& sender) {
    const auto decoded = eth::decode_signed(raw);
    if (!decoded || !(decoded->transaction == wanted) || decoded->sender != sender)
        return fail(ErrorCode::invalid_signature, "the signer signed something else");
    return {};
}

}  // namespace

/// What is the same for all records of one poll.
struct Submitter::Round {
    std::uint64_t head_number = 0;
    std::uint64_t account_nonce = 0;
    bool foreign_seen = false;
    bool waiting_seen = false;  ///< a record before this one is not mined: bumping is no use
};

Submitter::Submitter(rpc::Chain& chain, TransactionSigner& signer, TransactionStore& store,
                     const base::Clock& clock, SubmitterOptions options)
    : chain_(chain), signer_(signer), store_(store), clock_(clock), options_(options) {
    MR_CHECK(options_.chain_id != 0);
    MR_CHECK(options_.finality_depth >= 1);
    MR_CHECK(options_.bump_percent >= 10);
}

Result<void> Submitter::check_running() const {
    if (halted_) return tl::make_unexpected(*halted_);
    if (!started_) return fail(ErrorCode::wrong_state, "settlement is not reconciled yet");
    return {};
}

Error Submitter::halt(std::uint64_t nonce) {
    halted_.emplace(ErrorCode::foreign_nonce,
                    "nonce " + std::to_string(nonce) + " was used by another transaction");
    return *halted_;
}

Result<void> Submitter::start() {
    if (halted_) return tl::make_unexpected(*halted_);
    TRY_ASSIGN(const std::uint64_t chain_id, chain_.chain_id());
    if (chain_id != options_.chain_id)
        return fail(ErrorCode::chain_mismatch, "the node serves chain " + std::to_string(chain_id) +
                                                   ", the deployment is on " +
                                                   std::to_string(options_.chain_id));
    TRY_ASSIGN(std::vector<TransactionRecord> alive, store_.load_alive());
    for (const TransactionRecord& record : alive)
        MR_CHECK(!record.versions.empty());
    if (options_.adopt_chain_nonce) TRY(give_up_lost(alive));
    TRY_ASSIGN(const std::optional<std::uint64_t> next, store_.next_nonce());
    if (next) {
        TRY_ASSIGN(const std::uint64_t on_chain,
                   chain_.nonce(signer_.address(), BlockTag::Name::kLatest));
        const std::uint64_t first_open = alive.empty() ? *next : alive.front().nonce;
        if (on_chain < first_open)
            return fail(ErrorCode::chain_mismatch,
                        "the chain lost transactions that were final here: it knows " +
                            std::to_string(on_chain) + " of " + std::to_string(first_open));
        if (on_chain > *next && !(options_.adopt_chain_nonce && alive.empty()))
            return tl::make_unexpected(halt(*next));
        nonce_floor_ = on_chain;
    }
    alive_ = std::move(alive);
    started_ = true;
    return {};
}

/// A nonce that a final block shows spent, and by none of our versions, will never be ours.
Result<void> Submitter::give_up_lost(std::vector<TransactionRecord>& alive) {
    TRY_ASSIGN(const rpc::BlockHead head, chain_.block(BlockTag::Name::kLatest));
    if (head.number + 1 < options_.finality_depth) return {};
    TRY_ASSIGN(const std::uint64_t spent,
               chain_.nonce(signer_.address(),
                            BlockTag::number(head.number + 1 - options_.finality_depth)));
    for (TransactionRecord& record : alive) {
        if (record.nonce >= spent) break;
        TRY_ASSIGN(const auto receipt, find_receipt(record));
        if (receipt) continue;
        record.state = TransactionState::kFinal;
        record.mined.reset();
        TRY(store_.update(record));
        events_.push_back({SubmitterEvent::Kind::kFinal, record, std::nullopt});
    }
    std::erase_if(alive, [](const auto& r) { return r.state == TransactionState::kFinal; });
    return {};
}

Result<std::uint64_t> Submitter::plan_nonce() {
    TRY_ASSIGN(const std::optional<std::uint64_t> next, store_.next_nonce());
    if (next) return std::max(*next, nonce_floor_);
    return chain_.nonce(signer_.address(), BlockTag::Name::kLatest);
}

Result<std::uint64_t> Submitter::plan_gas(const Instruction& instruction) {
    rpc::CallRequest request;
    request.from = signer_.address();
    request.to = instruction.to;
    request.data = instruction.data;
    TRY_ASSIGN(const std::uint64_t estimate, chain_.estimate_gas(request));
    const auto limit = base::mul_div_up(estimate, 100 + options_.gas_margin_percent, 100);
    const std::uint64_t most = options_.gas_limit_max / 2;
    if (!limit || estimate > most)
        return fail(ErrorCode::too_large, "the transaction needs " + std::to_string(estimate) +
                                              " gas of " + std::to_string(most));
    return std::min(*limit, options_.gas_limit_max);
}

Result<TransactionVersion> Submitter::sign_version(const TransactionRecord& record,
                                                   const U256& max_fee, const U256& priority_fee) {
    eth::Transaction transaction;
    transaction.chain_id = options_.chain_id;
    transaction.nonce = record.nonce;
    transaction.max_fee_per_gas = max_fee;
    transaction.max_priority_fee_per_gas = priority_fee;
    transaction.gas_limit = record.gas_limit;
    transaction.to = record.instruction.to;
    transaction.data = record.instruction.data;
    TransactionVersion version;
    TRY_ASSIGN(version.raw, signer_.sign(transaction));
    TRY(check_signed(version.raw, transaction, signer_.address()));
    version.hash = eth::transaction_hash(version.raw);
    version.max_fee_per_gas = max_fee;
    version.max_priority_fee_per_gas = priority_fee;
    version.signed_at_ms = clock_.now_ms();
    return version;
}

Result<TransactionRecord> Submitter::submit(const Instruction& instruction) {
    TRY(check_running());
    if (instruction.id.empty() || instruction.id.size() > 64)
        return fail(ErrorCode::invalid_field, "an instruction's id has 1 to 64 characters");
    TRY_ASSIGN(const std::optional<TransactionRecord> known, store_.find(instruction.id));
    if (known) {
        if (known->instruction.to != instruction.to || known->instruction.data != instruction.data)
            return fail(ErrorCode::exists_with_different_body, instruction.id);
        return *known;
    }
    if (alive_.size() >= options_.in_flight_max)
        return fail(ErrorCode::queue_full,
                    std::to_string(alive_.size()) + " transactions are not final yet");
    TransactionRecord record;
    record.instruction = instruction;
    TRY_ASSIGN(record.gas_limit, plan_gas(instruction));
    TRY_ASSIGN(const rpc::FeeSuggestion fees, chain_.suggest_fees());
    const U256 max_fee = std::min(fees.max_fee_per_gas, options_.max_fee_per_gas_cap);
    if (max_fee < fees.base_fee_per_gas)
        return fail(ErrorCode::unavailable, "fees are above the cap; waiting for cheaper blocks");
    TRY_ASSIGN(record.nonce, plan_nonce());
    TRY_ASSIGN(TransactionVersion version,
               sign_version(record, max_fee, std::min(fees.max_priority_fee_per_gas, max_fee)));
    record.versions.push_back(std::move(version));
    TRY(store_.insert(record));
    // From here on the transaction exists: whatever happens, this nonce is its own.
    alive_.push_back(std::move(record));
    send(alive_.back());
    return alive_.back();
}

/// Sends the newest version. A clear no is left to `poll`, which sees why; no answer means that it
/// may have landed.
void Submitter::send(TransactionRecord& record) {
    const auto sent = chain_.send_raw(record.versions.back().raw);
    record.last_sent_ms = clock_.now_ms();
    if (!sent && !is_unknown(sent.error())) return;
    if (record.state != TransactionState::kSigned) return;
    record.state = TransactionState::kBroadcast;
    // A lost update only means that it is sent once more.
    static_cast<void>(store_.update(record));
}

Result<std::vector<SubmitterEvent>> Submitter::poll() {
    TRY(check_running());
    Round round;
    TRY_ASSIGN(const rpc::BlockHead head, chain_.block(BlockTag::Name::kLatest));
    round.head_number = head.number;
    TRY_ASSIGN(round.account_nonce, chain_.nonce(signer_.address(), BlockTag::number(head.number)));
    std::optional<Error> failed;
    for (TransactionRecord& record : alive_) {
        const auto advanced = advance(record, round);
        if (advanced) continue;
        failed = advanced.error();
        break;
    }
    std::erase_if(alive_, [](const auto& r) { return r.state == TransactionState::kFinal; });
    if (!failed) foreign_sightings_ = round.foreign_seen ? foreign_sightings_ : 0;
    if (failed && events_.empty()) return tl::make_unexpected(*failed);
    return std::exchange(events_, {});
}

/// The receipt of any version, in a block the node still calls canonical. One question that fails
/// does not hide another version's receipt; but "none" is only said when all were answered.
Result<std::optional<rpc::TransactionReceipt>> Submitter::find_receipt(
    const TransactionRecord& record) {
    std::optional<Error> unanswered;
    for (auto version = record.versions.rbegin(); version != record.versions.rend(); ++version) {
        auto receipt = chain_.receipt(version->hash);
        if (!receipt) {
            unanswered = receipt.error();
            continue;
        }
        if (!*receipt) continue;
        TRY_ASSIGN(const rpc::BlockHead block,
                   chain_.block(BlockTag::number((*receipt)->block_number)));
        if (block.hash != (*receipt)->block_hash)
            return fail(ErrorCode::chain_bad_answer, "a receipt in a block that is not there");
        return std::move(*receipt);
    }
    if (unanswered) return tl::make_unexpected(*unanswered);
    return std::nullopt;
}

Result<void> Submitter::advance(TransactionRecord& record, Round& round) {
    auto receipt = find_receipt(record);
    if (!receipt) {
        // Sending the same bytes again needs no knowledge and cannot do harm; and where few
        // questions are answered, a record of many versions would otherwise never be sent again.
        if (round.account_nonce <= record.nonce && is_resend_due(record)) send(record);
        return tl::make_unexpected(receipt.error());
    }
    if (*receipt) return on_mined(record, round, std::move(**receipt));
    return on_missing(record, round);
}

Result<void> Submitter::on_mined(TransactionRecord& record, const Round& round,
                                 rpc::TransactionReceipt receipt) {
    const MinedAt mined{receipt.transaction_hash, receipt.block_number, receipt.block_hash,
                        receipt.succeeded, receipt.gas_used};
    if (record.mined != mined) {
        TransactionRecord changed = record;
        changed.mined = mined;
        changed.state = TransactionState::kMined;
        TRY(store_.update(changed));
        record = std::move(changed);
        events_.push_back({SubmitterEvent::Kind::kMined, record, receipt});
    }
    const bool is_final = receipt.block_number <= round.head_number &&
                          round.head_number - receipt.block_number + 1 >= options_.finality_depth;
    if (!is_final) return {};
    TransactionRecord changed = record;
    changed.state = TransactionState::kFinal;
    TRY(store_.update(changed));
    record = std::move(changed);
    events_.push_back({SubmitterEvent::Kind::kFinal, record, std::move(receipt)});
    return {};
}

Result<void> Submitter::on_missing(TransactionRecord& record, Round& round) {
    if (record.mined) {
        TransactionRecord changed = record;
        changed.mined.reset();
        changed.state = TransactionState::kBroadcast;
        TRY(store_.update(changed));
        record = std::move(changed);
        events_.push_back({SubmitterEvent::Kind::kUndone, record, std::nullopt});
        if (round.account_nonce <= record.nonce) send(record);
    }
    if (round.account_nonce > record.nonce) {
        // The nonce is spent, and by none of ours. A node that answers from two heights shows the
        // same for a moment, so it must be seen several times before everything stops.
        if (!round.foreign_seen) ++foreign_sightings_;
        round.foreign_seen = true;
        if (foreign_sightings_ >= options_.foreign_polls)
            return tl::make_unexpected(halt(record.nonce));
        return {};
    }
    const base::TimeMs now = clock_.now_ms();
    const bool first_waiting = !std::exchange(round.waiting_seen, true);
    if (first_waiting && record.versions.size() < options_.versions_max &&
        now >= record.versions.back().signed_at_ms + options_.bump_after_ms)
        return bump(record);
    if (is_resend_due(record)) send(record);
    return {};
}

bool Submitter::is_resend_due(const TransactionRecord& record) const {
    return record.state == TransactionState::kSigned ||
           clock_.now_ms() >= record.last_sent_ms + options_.resend_after_ms;
}

Result<void> Submitter::bump(TransactionRecord& record) {
    const TransactionVersion& last = record.versions.back();
    TRY_ASSIGN(const rpc::FeeSuggestion fees, chain_.suggest_fees());
    const U256 least_max = raised(last.max_fee_per_gas, options_.bump_percent);
    const U256 least_priority = raised(last.max_priority_fee_per_gas, options_.bump_percent);
    if (least_max > options_.max_fee_per_gas_cap) {
        send(record);  // at the cap: nothing to do but wait
        return {};
    }
    const U256 max_fee =
        std::min(std::max(least_max, fees.max_fee_per_gas), options_.max_fee_per_gas_cap);
    const U256 priority =
        std::min(std::max(least_priority, fees.max_priority_fee_per_gas), max_fee);
    TRY_ASSIGN(TransactionVersion version, sign_version(record, max_fee, priority));
    TransactionRecord changed = record;
    changed.versions.push_back(std::move(version));
    TRY(store_.update(changed));  // stored before it is sent, like the first
    record = std::move(changed);
    send(record);
    events_.push_back({SubmitterEvent::Kind::kBumped, record, std::nullopt});
    return {};
}

Result<rpc::TransactionReceipt> send_and_wait(rpc::Chain& chain, TransactionSigner& signer,
                                              const base::Address& to, base::Bytes data,
                                              std::uint64_t timeout_ms) {
    TRY_ASSIGN(const std::uint64_t chain_id, chain.chain_id());
    MemoryTransactionStore store;
    SubmitterOptions options;
    options.chain_id = chain_id;
    options.finality_depth = 1;
    Submitter submitter(chain, signer, store, kSystemClock, options);
    TRY(submitter.start());
    TRY(submitter.submit({"once", "once", to, std::move(data)}));
    rpc::PollOptions patience;
    patience.every = std::chrono::milliseconds(50);
    patience.timeout = std::chrono::milliseconds(timeout_ms);
    std::optional<rpc::TransactionReceipt> receipt;
    const auto look = [&]() -> Result<bool> {
        auto events = submitter.poll();
        if (!events && !is_unknown(events.error())) return tl::make_unexpected(events.error());
        if (submitter.halted()) return tl::make_unexpected(*submitter.halted());
        if (!events) return false;
        for (SubmitterEvent& event : *events)
            if (event.kind == SubmitterEvent::Kind::kFinal) receipt = std::move(event.receipt);
        return receipt.has_value();
    };
    TRY_ASSIGN(const bool final, rpc::poll_until(patience, look));
    if (!final) return fail(ErrorCode::timeout, "the transaction was sent but not mined in time");
    if (!receipt->succeeded) return fail(ErrorCode::chain_refused, "reverted");
    return std::move(*receipt);
}

}  // namespace ledger::settlement

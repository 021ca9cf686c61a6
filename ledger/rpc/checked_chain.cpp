// SPDX-License-Identifier: Apache-2.0
#include "ledger/rpc/checked_chain.hpp"

#include "ledger/base/check.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/rpc/eth_client.hpp"

#include <algorithm>
#include <utility>

namespace ledger::rpc {

using base::Error;
using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

/// A clear yes or no, as opposed to a node that could not be asked.
template <typename T>
bool is_answer(const Result<T>& value) {
    return value || value.error().code() == ErrorCode::chain_refused ||
           value.error().code() == ErrorCode::not_found;
}

/// Refusals are the same whatever their words.
template <typename T>
bool is_same(const Result<T>& a, const Result<T>& b) {
    if (a && b) return *a == *b;
    return !a && !b && a.error().code() == b.error().code();
}

bool is_moving(BlockTag tag) {
    return tag.name() == BlockTag::Name::kLatest || tag.name() == BlockTag::Name::kSafe ||
           tag.name() == BlockTag::Name::kFinalized;
}

}  // namespace

std::vector<ChainNode> dial(const std::vector<std::string>& urls, HttpLimits limits) {
    std::vector<ChainNode> out;
    for (const std::string& url : urls) {
        const auto parsed = parse_url(url);
        out.push_back(
            {parsed ? parsed->host + ":" + std::to_string(parsed->port) : "a node with a bad URL",
             std::make_unique<EthClient>(url, limits)});
    }
    return out;
}

struct CheckedChain::Node {
    std::string name;
    std::unique_ptr<Chain> chain;
    std::uint64_t head_number = 0;  // as last seen
    std::string trouble;
    std::optional<Error> failure;  // the last one
    unsigned failures = 0;         // in a row
    base::TimeMs retry_at_ms = 0;
    bool chain_checked = false;
    bool stale = false;
};

template <typename T>
struct CheckedChain::Answer {
    Node* node = nullptr;
    Result<T> value;
};

CheckedChain::CheckedChain(std::vector<ChainNode> nodes, const base::Clock& clock,
                           CheckedChainOptions options)
    : clock_(clock), options_(std::move(options)) {
    MR_CHECK(!nodes.empty());
    for (ChainNode& node : nodes) {
        Node& added = nodes_.emplace_back();
        added.name = std::move(node.name);
        added.chain = std::move(node.chain);
    }
    if (options_.quorum == 0) options_.quorum = nodes_.size() / 2 + 1;
    MR_CHECK(options_.quorum <= nodes_.size());
}

CheckedChain::~CheckedChain() = default;

std::vector<NodeHealth> CheckedChain::nodes() const {
    const std::scoped_lock lock(mutex_);
    std::vector<NodeHealth> out;
    for (const Node& node : nodes_)
        out.push_back({node.name, node.head_number, node.trouble});
    return out;
}

bool CheckedChain::is_alone() const noexcept {
    return nodes_.size() == 1;
}

// ---- one node ----

void CheckedChain::set_trouble(Node& node, const std::string& trouble) {
    if (node.trouble == trouble) return;
    {
        const std::scoped_lock lock(mutex_);
        node.trouble = trouble;
    }
    if (options_.on_news && !is_alone())
        options_.on_news(node.name + ": " + (trouble.empty() ? "is well again" : trouble));
}

void CheckedChain::set_head(Node& node, std::uint64_t number) {
    const std::scoped_lock lock(mutex_);
    node.head_number = number;
}

/// It is left alone for a while, so that a dead node does not cost a time-out per question; and
/// what comes back may be another one. A single node is asked at its caller's pace.
void CheckedChain::on_failure(Node& node, Error error) {
    set_trouble(node, std::string(to_string(error.code())) + ", " + error.detail());
    node.failure = std::move(error);
    if (is_alone()) return;
    node.chain_checked = false;
    const base::TimeMs wait = options_.retry_after_ms << std::min(node.failures++, 16U);
    node.retry_at_ms = clock_.now_ms() + std::min(wait, options_.retry_after_max_ms);
}

bool CheckedChain::is_usable(Node& node) {
    if (clock_.now_ms() < node.retry_at_ms) return false;
    if (node.chain_checked || options_.chain_id == 0) return true;
    const auto id = node.chain->chain_id();
    if (id == options_.chain_id) {
        node.chain_checked = true;
        return true;
    }
    on_failure(node, id ? Error(ErrorCode::chain_mismatch, "the node serves chain " +
                                                               std::to_string(*id) + ", not " +
                                                               std::to_string(options_.chain_id))
                        : id.error());
    return false;
}

// ---- all of them ----

tl::unexpected<Error> CheckedChain::undecided(std::string_view what, bool differ) const {
    if (is_alone()) return tl::make_unexpected(*nodes_.front().failure);
    ErrorCode code = differ ? ErrorCode::chain_bad_answer : ErrorCode::chain_unreachable;
    std::string detail = std::string(what) + ": no " + std::to_string(options_.quorum) + " of " +
                         std::to_string(nodes_.size()) + " nodes agree";
    for (const Node& node : nodes_) {
        if (!node.trouble.empty()) detail += "; " + node.name + ": " + node.trouble;
        if (!differ && node.failure && node.failure->code() == ErrorCode::chain_mismatch)
            code = ErrorCode::chain_mismatch;
    }
    return fail(code, std::move(detail));
}

template <typename T>
std::vector<CheckedChain::Answer<T>> CheckedChain::collect(const Ask<T>& ask, Until until) {
    std::vector<Answer<T>> answers;
    for (Node& node : nodes_) {
        if (node.stale || !is_usable(node)) continue;
        auto value = ask(node);
        // A kept connection that was closed meanwhile, a node that is busy: cheap to ask again, as
        // a time-out is not.
        for (unsigned i = 1; i < options_.tries && !is_answer(value); ++i) {
            if (value.error().code() == ErrorCode::timeout) break;
            value = ask(node);
        }
        if (!is_answer(value)) {
            on_failure(node, value.error());
            continue;
        }
        node.failures = 0;
        node.failure.reset();
        answers.push_back({&node, std::move(value)});
        if (until == Until::kAgreed && agreed(answers) != nullptr) break;
    }
    return answers;
}

template <typename T>
const CheckedChain::Answer<T>* CheckedChain::agreed(const std::vector<Answer<T>>& answers) const {
    for (const Answer<T>& answer : answers) {
        const auto same = std::count_if(answers.begin(), answers.end(), [&](const auto& other) {
            return is_same(answer.value, other.value);
        });
        if (static_cast<std::size_t>(same) >= options_.quorum) return &answer;
    }
    return nullptr;
}

template <typename T>
Result<T> CheckedChain::decide(std::string_view what, const std::vector<Answer<T>>& answers) {
    const Answer<T>* chosen = agreed(answers);
    if (chosen == nullptr && answers.size() < options_.quorum) return undecided(what, false);
    for (const Answer<T>& answer : answers) {
        if (chosen != nullptr && is_same(answer.value, chosen->value))
            set_trouble(*answer.node, "");
        else if (answer.value || answer.value.error().code() != ErrorCode::not_found)
            set_trouble(*answer.node, "differs from the others about " + std::string(what));
    }
    if (chosen == nullptr) return undecided(what, true);
    return chosen->value;
}

template <typename T>
Result<T> CheckedChain::agree(std::string_view what, const Ask<T>& ask) {
    return decide(what, collect(ask, Until::kAgreed));
}

template <typename T, typename AskAt>
Result<T> CheckedChain::agree_at(std::string_view what, BlockTag at, const AskAt& ask) {
    if (is_moving(at) && !(is_alone() && options_.head_age_max_ms == 0)) {
        TRY_ASSIGN(const BlockHead head, common_head(at));
        at = BlockTag::number(head.number);
    }
    return agree<T>(what, [&](Node& node) -> Result<T> {
        if (!is_alone() && at.name() == BlockTag::Name::kNumber && node.head_number < at.value()) {
            TRY_ASSIGN(const std::uint64_t number, node.chain->block_number());
            set_head(node, number);
            if (number < at.value()) return fail(ErrorCode::not_found, "no such block yet");
        }
        return ask(*node.chain, at);
    });
}

/// The highest block a quorum has.
Result<BlockHead> CheckedChain::common_head(BlockTag tag) {
    for (Node& node : nodes_)
        node.stale = node.stale && tag.name() != BlockTag::Name::kLatest;
    auto heads =
        collect<BlockHead>([&](Node& node) { return node.chain->block(tag); }, Until::kAllAsked);
    std::vector<std::uint64_t> numbers;
    for (const auto& [node, head] : heads) {
        if (!head) continue;
        if (tag.name() == BlockTag::Name::kLatest) {
            set_head(*node, head->number);
            node->stale = options_.head_age_max_ms != 0 &&
                          head->time_s * 1000 + options_.head_age_max_ms < clock_.now_ms();
        }
        if (node->stale) {
            node->failure.emplace(ErrorCode::chain_unreachable,
                                  "its newest block is older than " +
                                      std::to_string(options_.head_age_max_ms / 1000) + " s");
            set_trouble(*node, node->failure->detail());
        } else {
            numbers.push_back(head->number);
        }
    }
    std::sort(numbers.rbegin(), numbers.rend());
    if (numbers.size() < options_.quorum) {
        if (is_alone() && !heads.empty() && !heads.front().node->stale) return heads.front().value;
        return undecided("the newest block", false);
    }
    const std::uint64_t common = numbers[options_.quorum - 1];
    return agree<BlockHead>("block " + std::to_string(common), [&](Node& node) {
        for (const auto& [asked, head] : heads)
            if (asked == &node && head && head->number == common) return head;
        return node.chain->block(BlockTag::number(common));
    });
}

// ---- questions ----

Result<std::uint64_t> CheckedChain::chain_id() {
    return agree<std::uint64_t>("the chain id", [](Node& node) { return node.chain->chain_id(); });
}

Result<std::uint64_t> CheckedChain::block_number() {
    TRY_ASSIGN(const BlockHead head, common_head(BlockTag::Name::kLatest));
    return head.number;
}

Result<BlockHead> CheckedChain::block(BlockTag tag) {
    if (is_moving(tag)) return common_head(tag);
    return agree<BlockHead>(
        tag.name() == BlockTag::Name::kNumber ? "block " + std::to_string(tag.value()) : "a block",
        [&](Node& node) { return node.chain->block(tag); });
}

Result<eth::U256> CheckedChain::balance(const base::Address& account, BlockTag at) {
    return agree_at<eth::U256>("a balance", at, [&](Chain& chain, BlockTag block) {
        return chain.balance(account, block);
    });
}

Result<std::uint64_t> CheckedChain::nonce(const base::Address& account, BlockTag at) {
    return agree_at<std::uint64_t>(
        "a nonce", at, [&](Chain& chain, BlockTag block) { return chain.nonce(account, block); });
}

Result<base::Bytes> CheckedChain::code(const base::Address& account, BlockTag at) {
    return agree_at<base::Bytes>("a contract's code", at, [&](Chain& chain, BlockTag block) {
        return chain.code(account, block);
    });
}

Result<base::Bytes> CheckedChain::call(const CallRequest& request, BlockTag at) {
    return agree_at<base::Bytes>("a call's result", at, [&](Chain& chain, BlockTag block) {
        return chain.call(request, block);
    });
}

Result<std::uint64_t> CheckedChain::estimate_gas(const CallRequest& request) {
    const auto answers = collect<std::uint64_t>(
        [&](Node& node) { return node.chain->estimate_gas(request); }, Until::kAllAsked);
    std::vector<std::uint64_t> values;
    const Error* refused = nullptr;
    for (const auto& answer : answers)
        if (answer.value)
            values.push_back(*answer.value);
        else
            refused = &answer.value.error();
    std::sort(values.begin(), values.end());
    if (values.size() >= options_.quorum) return values[options_.quorum - 1];
    if (answers.size() - values.size() >= options_.quorum) return tl::make_unexpected(*refused);
    return undecided("a gas estimate", answers.size() >= options_.quorum);
}

Result<FeeSuggestion> CheckedChain::suggest_fees() {
    const auto answers = collect<FeeSuggestion>(
        [](Node& node) { return node.chain->suggest_fees(); }, Until::kAllAsked);
    std::vector<FeeSuggestion> fees;
    for (const auto& answer : answers)
        if (answer.value) fees.push_back(*answer.value);
    if (fees.empty() && !answers.empty()) return answers.front().value;
    if (fees.empty()) return undecided("fees", false);
    std::sort(fees.begin(), fees.end(), [](const FeeSuggestion& a, const FeeSuggestion& b) {
        return a.max_fee_per_gas < b.max_fee_per_gas;
    });
    return fees[fees.size() / 2];
}

Result<base::Hash32> CheckedChain::send_raw(base::ByteView raw) {
    const auto answers = collect<base::Hash32>(
        [&](Node& node) { return node.chain->send_raw(raw); }, Until::kAllAsked);
    for (const auto& answer : answers)
        if (answer.value) return answer.value;
    // It may have landed at a node that did not answer.
    if (answers.size() < nodes_.size()) return undecided("a send", false);
    return answers.front().value;
}

/// A block that only some have is not there yet; one that a quorum has and one denies is a lie.
Result<std::optional<TransactionReceipt>> CheckedChain::receipt(const base::Hash32& hash) {
    using Receipt = std::optional<TransactionReceipt>;
    auto answers =
        collect<Receipt>([&](Node& node) { return node.chain->receipt(hash); }, Until::kAgreed);
    if (answers.size() >= options_.quorum && agreed(answers) == nullptr) {
        TRY_ASSIGN(const BlockHead head, common_head(BlockTag::Name::kLatest));
        for (auto& answer : answers)
            if (answer.value && *answer.value && (*answer.value)->block_number > head.number)
                answer.value = Receipt();
    }
    return decide("the receipt of " + base::to_hex(hash).substr(0, 10), answers);
}

Result<std::vector<LogEntry>> CheckedChain::logs(const LogFilter& filter) {
    return agree_at<std::vector<LogEntry>>(
        "the events of blocks " + std::to_string(filter.from_block) + " to " +
            std::to_string(filter.to_block),
        BlockTag::number(filter.to_block),
        [&](Chain& chain, BlockTag) { return chain.logs(filter); });
}

}  // namespace ledger::rpc

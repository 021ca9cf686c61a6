// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/explain.hpp"

#include "ledger/base/money.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/cli/exit_code.hpp"
#include "marketplace/cli/terminal.hpp"
#include "marketplace/domain/event.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace marketplace::cli {
namespace {

using marketplace::domain::kMismatchCount;
using marketplace::domain::Mismatch;
using nlohmann::json;

/// "3 asks …" and what to change; in the order of domain::Mismatch.
struct Sentence {
    const char* says;
    const char* change;
};
constexpr std::array<Sentence, kMismatchCount> kSentences = {{
    {"of another unit", "they are not for this kind of work"},
    {"of another class", "change --class"},
    {"of workers that are away", "wait; a worker comes back or is dropped"},
    {"excluded", "see --exclude-provider; a host that failed this job is left out too"},
    {"of providers you do not name", "add one with --provider"},
    {"that refuse this buyer", "their provider keeps a list of buyers"},
    {"with another GPU", "add the model with --gpu-model"},
    {"with fewer GPUs", "lower --min-gpus"},
    {"with less GPU memory", "lower --min-vram-mib"},
    {"with another interconnect", "add it with --interconnect"},
    {"with less main memory", "lower --min-ram-mib"},
    {"with fewer CPU cores", "lower --min-cpu-cores"},
    {"with less disk", "lower --min-disk-mib"},
    {"with less bandwidth", "lower --min-bandwidth-mbps"},
    {"with less compute", "lower --min-gflop-per-s"},
    {"with less memory bandwidth", "lower --min-memory-mb-per-s"},
    {"in other regions", "add one with --region"},
    {"with another runtime", "add one with --runtime"},
    {"without the numeric class", "choose a weaker --numeric-class"},
    {"of a lower verification tier", "ask for a lower tier in the job spec"},
    {"for smaller steps only", "make the model or the batch smaller"},
    {"for smaller gangs only", "lower --gang"},
    {"less reliable than you want", "lower --min-reliability"},
    {"that leave less time before they reclaim", "lower --min-reclaim-seconds"},
    {"not open then", "change --start, --until or --hours"},
    {"with fewer units a lease", "allow parts with --min-slice"},
    {"sold out or busy", "wait, or allow parts with --min-slice"},
    {"above your price", "raise --max-price or --max-amount"},
}};
static_assert(kSentences.back().says != nullptr, "a reason has no sentence");

std::string nearest_text(std::size_t reason, const std::string& value) {
    if (static_cast<Mismatch>(reason) != Mismatch::kPrice) return value;
    const auto atoms = ledger::base::parse_u64(value);
    return atoms ? ledger::base::Money(static_cast<std::int64_t>(*atoms)).to_tokens() : value;
}

std::string sentence_of(std::size_t reason, std::uint64_t count, const json& nearest) {
    const std::string name(to_string(static_cast<Mismatch>(reason)));
    std::string out =
        fmt::format("{} ask{} {}", count, count == 1 ? "" : "s", kSentences[reason].says);
    if (const auto value = ledger::rpc::string_at(nearest, name))
        out += fmt::format(" (nearest: {})", printable(nearest_text(reason, *value)));
    return out + fmt::format(": {}.", kSentences[reason].change);
}

}  // namespace

std::vector<std::string> explain_mismatches(const json& reasons) {
    struct Found {
        std::size_t reason;
        std::uint64_t count;
    };
    std::vector<std::string> out;
    if (!reasons.is_object()) return out;
    const json failed = reasons.value("failed", json::object());
    const json nearest = reasons.value("nearest", json::object());
    if (ledger::rpc::integer_at(reasons, "asks").value_or(0) == 0)
        out.emplace_back("The book has no asks: nobody offers anything now.");
    std::vector<Found> found;
    for (std::size_t i = 0; i < kMismatchCount; ++i) {
        const std::string name(to_string(static_cast<Mismatch>(i)));
        if (const auto count = ledger::rpc::integer_at(failed, name)) found.push_back({i, *count});
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Found& a, const Found& b) { return a.count > b.count; });
    for (const Found& one : found)
        out.push_back(sentence_of(one.reason, one.count, nearest));
    return out;
}

std::string_view next_command(ledger::base::ErrorCode code) noexcept {
    using ledger::base::ErrorCode;
    switch (code) {
        case ErrorCode::insufficient_funds:
            return "millrace deposit AMOUNT";
        case ErrorCode::delegation_cap_exceeded:
        case ErrorCode::delegation_revoked:
            return "millrace balance";
        case ErrorCode::unknown_model:
            return "millrace models";
        case ErrorCode::no_capacity:
            return "millrace serve MODEL --max-amount TOKENS";
        case ErrorCode::no_match:
            return "millrace market book";
        case ErrorCode::not_found:
        case ErrorCode::wrong_state:
        case ErrorCode::worker_failed:
        case ErrorCode::worker_lost:
            return "millrace jobs list";
        case ErrorCode::data_missing:
            return "millrace upload FILE";
        case ErrorCode::audit_failed:
            return "millrace audit --json";
        case ErrorCode::unauthorized:
        case ErrorCode::forbidden:
        case ErrorCode::session_expired:
        case ErrorCode::invalid_signature:
            return "millrace wallet show";
        case ErrorCode::chain_unreachable:
        case ErrorCode::chain_mismatch:
        case ErrorCode::chain_bad_answer:
            return "millrace balance --rpc URL";
        case ErrorCode::unavailable:
        case ErrorCode::timeout:
            return "millrace info --market URL";
        default:
            return exit_code_for(code) == ExitCode::kUsage ? "the same with --help"
                                                           : "millrace info";
    }
}

std::vector<std::string> explain_error(ledger::base::ErrorCode code) {
    const ExitCode exit = exit_code_for(code);
    return {fmt::format("{} means: {} (exit status {}).", to_string(code), to_sentence(exit),
                        static_cast<int>(exit)),
            fmt::format("To mend it: {}.", help_for(code))};
}

}  // namespace marketplace::cli

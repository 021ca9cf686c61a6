// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/money.hpp"
#include "marketplace/domain/command.hpp"
#include "marketplace/domain/event.hpp"
#include "marketplace/domain/job.hpp"
#include "marketplace/domain/lease.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace marketplace::domain {
namespace {

template <std::size_t N, typename Enum>
std::string_view name_in(const std::array<std::string_view, N>& names, Enum value) noexcept {
    const auto index = static_cast<std::size_t>(value);
    return index < N ? names[index] : std::string_view("unknown");
}

constexpr std::array<std::string_view, 2> kJobKinds = {"train", "infer.serve"};
constexpr std::array<std::string_view, 8> kJobStates = {
    "open", "matched", "assigned", "running", "completed", "failed", "cancelled", "expired"};
constexpr std::array<std::string_view, 6> kLeaseStates = {"matched", "open",   "running",
                                                          "closing", "closed", "open_failed"};
constexpr std::array<std::string_view, 8> kCloseReasons = {
    "none",          "completed", "buyer_cancelled", "worker_lost",
    "worker_failed", "expired",   "outbid",          "provider_left"};
constexpr std::array<std::string_view, kMismatchCount> kMismatches = {
    "unit_kind",      "order_class",   "worker_away",   "excluded",
    "not_allowed",    "buyer_refused", "gpu_model",     "gpu_count",
    "vram",           "interconnect",  "ram",           "cpu_cores",
    "disk",           "bandwidth",     "compute",       "memory_bandwidth",
    "region",         "runtime",       "numeric_class", "verification_tier",
    "step_too_large", "gang",          "reliability",   "reclaim_window",
    "window",         "quantity",      "capacity",      "price"};
constexpr std::array<std::string_view, kNumericClassCount> kNumericClasses = {"any", "d0", "d1",
                                                                              "d2", "d3"};
constexpr std::array<std::string_view, kClearingCount> kClearings = {"limit", "batch"};
constexpr std::array<std::string_view, std::variant_size_v<Command>> kCommands = {
    "post_ask",
    "post_job",
    "cancel_ask",
    "cancel_job",
    "worker_connected",
    "worker_lost",
    "escrow_deposited",
    "escrow_withdrawn",
    "lease_opened",
    "lease_open_failed",
    "claim_confirmed",
    "lease_close_confirmed",
    "lease_started",
    "submit_receipt",
    "record_voucher",
    "lease_finished",
    "lease_failed",
    "tick",
    "lease_close_requested",
    "amend_ask",
    "amend_job"};
constexpr std::array<std::string_view, std::variant_size_v<Event>> kEvents = {
    "ask_accepted",  "ask_closed",         "job_changed",      "not_matched",
    "matched",       "lease_changed",      "receipt_accepted", "voucher_accepted",
    "paid",          "balance_changed",    "worker_changed",   "lease_reclaimed",
    "batch_cleared", "receipt_equivocated"};

/// What is said of the asks that fail at a test, and of the nearest of them ("{}": its value).
struct Phrase {
    std::string_view text;
    std::string_view nearest;
};
constexpr std::array<Phrase, kMismatchCount> kPhrases = {{
    {"of another unit", ""},
    {"of another class", ""},
    {"whose worker is away", ""},
    {"excluded", ""},
    {"not on the allow list", ""},
    {"that refuse this buyer", ""},
    {"with another GPU", ""},
    {"with fewer GPUs", "most {}"},
    {"with less VRAM", "largest {} MiB"},
    {"with another interconnect", ""},
    {"with less RAM", "largest {} MiB"},
    {"with fewer CPU cores", "most {}"},
    {"with less disk", "largest {} MiB"},
    {"with less bandwidth", "fastest {} Mbit/s"},
    {"with less compute", "fastest {} GFLOP/s"},
    {"with less memory bandwidth", "fastest {} MB/s"},
    {"in other regions", ""},
    {"with another runtime", ""},
    {"without the numeric class", ""},
    {"of a lower verification tier", "highest {}"},
    {"for smaller steps", "largest {} FLOP"},
    {"for smaller gangs", "largest {}"},
    {"less reliable", "best {} %"},
    {"with a shorter reclaim window", "longest {} s"},
    {"not open then", "first from unix second {}"},
    {"with fewer units a lease", "most {}"},
    {"sold out or busy", "most {} units left"},
    {"above the price", "cheapest {}"},
}};

std::string nearest_text(Mismatch mismatch, std::uint64_t value) {
    const std::string_view form = kPhrases[static_cast<std::size_t>(mismatch)].nearest;
    std::string number = fmt::format("{}", value);
    if (mismatch == Mismatch::kReliability) number = fmt::format("{}", value / 100);
    if (mismatch == Mismatch::kPrice)
        number = ledger::base::Money(static_cast<std::int64_t>(value)).to_tokens();
    return fmt::format(fmt::runtime(form), number);
}

}  // namespace

std::string_view to_string(JobKind kind) noexcept {
    return name_in(kJobKinds, kind);
}
std::string_view to_string(NumericClass value) noexcept {
    return name_in(kNumericClasses, value);
}
std::string_view to_string(Clearing value) noexcept {
    return name_in(kClearings, value);
}
std::string_view to_string(JobState state) noexcept {
    return name_in(kJobStates, state);
}
std::string_view to_string(LeaseState state) noexcept {
    return name_in(kLeaseStates, state);
}
std::string_view to_string(CloseReason reason) noexcept {
    return name_in(kCloseReasons, reason);
}
std::string_view to_string(Mismatch mismatch) noexcept {
    return name_in(kMismatches, mismatch);
}
std::string_view name_of(const Command& command) noexcept {
    return name_in(kCommands, command.index());
}
std::string_view name_of(const Event& event) noexcept {
    return name_in(kEvents, event.index());
}

std::string describe(const Mismatches& reasons) {
    if (reasons.asks == 0) return "no asks in the book";
    std::string out = fmt::format("{} ask{}:", reasons.asks, reasons.asks == 1 ? "" : "s");
    const char* separator = " ";
    std::uint32_t fit = reasons.asks;
    for (std::size_t i = 0; i < kMismatchCount; ++i) {
        if (reasons.failed[i] == 0) continue;
        fit -= std::min(fit, reasons.failed[i]);
        out += fmt::format("{}{} {}", separator, reasons.failed[i], kPhrases[i].text);
        if (reasons.nearest[i] != 0 && !kPhrases[i].nearest.empty())
            out += fmt::format(" ({})", nearest_text(static_cast<Mismatch>(i), reasons.nearest[i]));
        separator = ", ";
    }
    if (fit != 0) out += fmt::format("{}{} fit{}", separator, fit, fit == 1 ? "s" : "");
    return out;
}

}  // namespace marketplace::domain

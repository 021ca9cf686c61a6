// SPDX-License-Identifier: Apache-2.0
#include "marketplace/cli/replay.hpp"

#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/engine/journal.hpp"

#include <fmt/format.h>

namespace marketplace::cli {
namespace {

using ledger::base::ErrorCode;
using ledger::base::fail;

constexpr std::uint64_t kRecordsPerProgress = 512;

Result<Address> address_at(const nlohmann::json& object, std::string_view name) {
    TRY_ASSIGN(const std::string text, ledger::rpc::string_at(object, name));
    return ledger::crypto::parse_address(text);
}

/// Left as it is when the member is not there.
Result<void> read_optional(const nlohmann::json& object, const char* name, std::uint64_t& out) {
    if (!object.contains(name)) return {};
    const auto value = object[name].is_string() ? ledger::rpc::u64_text_at(object, name)
                                                : ledger::rpc::integer_at(object, name);
    TRY_ASSIGN(out, value);
    return {};
}

}  // namespace

Result<engine::EngineConfig> parse_rules(const nlohmann::json& facts) {
    engine::EngineConfig out;
    TRY_ASSIGN(out.domain.chain_id, ledger::rpc::integer_at(facts, "chain_id"));
    TRY_ASSIGN(out.domain.contract, address_at(facts, "leases_contract"));
    TRY_ASSIGN(out.operator_address, address_at(facts, "operator_address"));
    TRY(read_optional(facts, "voucher_period_atoms", out.voucher_period_atoms));
    TRY(read_optional(facts, "max_failovers", out.max_failovers));
    TRY(read_optional(facts, "batch_period_ms", out.batch_period_ms));
    if (out.batch_period_ms == 0) return fail(ErrorCode::invalid_field, "batch_period_ms");
    return out;
}

nlohmann::json rules_json(const engine::EngineConfig& rules) {
    return {{"chain_id", rules.domain.chain_id},
            {"leases_contract", ledger::crypto::to_checksum(rules.domain.contract)},
            {"operator_address", ledger::crypto::to_checksum(rules.operator_address)},
            {"voucher_period_atoms", std::to_string(rules.voucher_period_atoms)},
            {"max_failovers", rules.max_failovers},
            {"batch_period_ms", rules.batch_period_ms}};
}

Result<ReplayReport> replay(RecordReader& reader, const engine::EngineConfig& rules,
                            const std::function<void(const ReplayReport&)>& progress) {
    engine::Engine engine(rules);
    ReplayReport report;
    Hash32 previous;
    while (true) {
        TRY_ASSIGN(const auto bytes, reader.next());
        if (!bytes) break;
        const auto differs = [&](std::string_view text) {
            report.defect = fmt::format("record {}: {}", report.records, text);
            return report;
        };
        const auto record = engine::decode_record(*bytes);
        if (!record) return differs("cannot be decoded");
        if (record->sequence != report.records || record->previous != previous)
            return differs("does not follow the record before it");
        const auto events = engine.apply(record->command, record->time_ms);
        if (!events) return differs("the engine refuses it: " + events.error().message());
        if (*events != record->events) return differs("the engine decides otherwise");
        if (engine.state_hash() != record->state_hash)
            return differs("the engine comes to another state");
        previous = engine::record_hash(*bytes);
        report.state_hash = record->state_hash;
        report.events += events->size();
        if (++report.records % kRecordsPerProgress == 0) progress(report);
    }
    progress(report);
    return report;
}

}  // namespace marketplace::cli

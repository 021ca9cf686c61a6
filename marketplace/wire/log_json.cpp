// SPDX-License-Identifier: Apache-2.0
#include "marketplace/wire/log_json.hpp"

#include "ledger/base/limits.hpp"
#include "ledger/rpc/json.hpp"
#include "marketplace/wire/fields.hpp"

namespace marketplace::wire {
namespace {

constexpr auto head_fields = [](auto& v, auto& m) {
    v.decimal("size", m.head.size);
    v.hex("root", m.head.root);
    v.decimal("timeMs", m.head.time_ms);
    v.hex("signature", m.signature);
};

}  // namespace

Result<SignedHead> parse_signed_head(std::string_view body) {
    ledger::rpc::JsonLimits bounds;
    bounds.bytes = ledger::base::limits::kHttpBodyBytes;
    TRY_ASSIGN(const json document, ledger::rpc::parse_json(body, bounds));
    return read_fields<SignedHead>(document, head_fields);
}

std::string to_json(const SignedHead& value) {
    return write_fields(value, head_fields);
}

}  // namespace marketplace::wire

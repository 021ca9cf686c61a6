// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/deployment.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/rpc/json.hpp"

#include <array>
#include <fstream>
#include <iterator>

namespace ledger::settlement {

using base::Address;
using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kFileBytes = 64 * 1024;

struct AddressField {
    const char* name;
    Address Deployment::*member;
};
constexpr std::array<AddressField, 7> kAddresses = {{
    {"token", &Deployment::token},
    {"escrow", &Deployment::escrow},
    {"providers", &Deployment::providers},
    {"leases", &Deployment::leases},
    {"receipt_log", &Deployment::receipt_log},
    {"treasury", &Deployment::treasury},
    {"operator", &Deployment::market_operator},
}};
struct NumberField {
    const char* name;
    std::uint64_t Deployment::*member;
};
constexpr std::array<NumberField, 5> kNumbers = {{
    {"chain_id", &Deployment::chain_id},
    {"block", &Deployment::block},
    {"close_window_s", &Deployment::close_window_s},
    {"withdraw_delay_s", &Deployment::withdraw_delay_s},
    {"fee_bps", &Deployment::fee_bps},
}};

tl::unexpected<base::Error> bad(const std::string& what) {
    return fail(ErrorCode::config_invalid, "deployment file: " + what);
}

}  // namespace

Result<Deployment> parse_deployment(std::string_view text) {
    const auto document = rpc::parse_json(text);
    if (!document) return bad(document.error().detail());
    Deployment out;
    for (const NumberField& field : kNumbers) {
        const auto value = rpc::integer_at(*document, field.name);
        if (!value) return bad(field.name);
        out.*field.member = *value;
    }
    for (const AddressField& field : kAddresses) {
        const auto value = rpc::string_at(*document, field.name);
        if (!value) return bad(field.name);
        const auto address = crypto::parse_address(*value);
        if (!address || address->is_zero()) return bad(field.name);
        out.*field.member = *address;
    }
    if (document->contains("disputes")) {
        TRY_ASSIGN(const std::string text_of, rpc::string_at(*document, "disputes"));
        const auto address = crypto::parse_address(text_of);
        if (!address) return bad("disputes");
        out.disputes = *address;
    }
    if (out.chain_id == 0) return bad("chain_id");
    return out;
}

std::string to_text(const Deployment& deployment) {
    nlohmann::json document = nlohmann::json::object();
    for (const NumberField& field : kNumbers)
        document[field.name] = deployment.*field.member;
    for (const AddressField& field : kAddresses)
        document[field.name] = base::to_hex(deployment.*field.member);
    if (!deployment.disputes.is_zero()) document["disputes"] = base::to_hex(deployment.disputes);
    return rpc::to_text(document);
}

Result<Deployment> read_deployment(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::data_missing, "no deployment file at " + path.string());
    std::string text(kFileBytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    if (text.size() > kFileBytes) return bad("larger than 64 KiB");
    return parse_deployment(text);
}

}  // namespace ledger::settlement

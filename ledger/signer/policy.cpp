// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/policy.hpp"

#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/eth/upto_permit.hpp"

#define TOML_EXCEPTIONS 0
#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <iterator>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;

namespace {

constexpr std::size_t kFileBytes = 64 * 1024;

tl::unexpected<base::Error> bad(std::string_view what) {
    return fail(ErrorCode::config_invalid, "policy: " + std::string(what));
}

Result<void> only_keys(const toml::table& table, std::string_view where,
                       std::initializer_list<std::string_view> names) {
    for (const auto& [key, value] : table)
        if (std::find(names.begin(), names.end(), key.str()) == names.end())
            return bad(std::string(where) + std::string(key.str()) + " is not a setting");
    return {};
}

Result<std::uint64_t> number_at(const toml::table& table, std::string_view name) {
    const auto value = table[name].value_exact<std::int64_t>();
    if (!value || *value < 0) return bad(std::string(name) + " must be an integer, 0 or above");
    return static_cast<std::uint64_t>(*value);
}

Result<base::Address> to_address(const std::optional<std::string>& text, std::string_view name) {
    if (!text) return bad(std::string(name) + " must be an address");
    const auto address = crypto::parse_address(*text);
    if (!address || address->is_zero()) return bad(std::string(name) + " is not an address");
    return *address;
}

Result<base::Address> address_at(const toml::table& table, std::string_view name) {
    return to_address(table[name].value_exact<std::string>(), name);
}

Result<const toml::table*> table_at(const toml::table& table, std::string_view name) {
    const toml::table* found = table[name].as_table();
    if (found == nullptr) return bad("the section " + std::string(name) + " is missing");
    return found;
}

/// "open(uint64)" or "0x12345678".
Result<Selector> to_selector(const std::string& text) {
    if (text.find('(') != text.npos) return eth::abi::selector(text);
    const auto bytes = base::parse_hex(text, 4);
    if (!bytes || bytes->size() != 4 || !text.starts_with("0x"))
        return bad(text + " is neither a function signature nor 0x and 8 digits");
    return Selector{(*bytes)[0], (*bytes)[1], (*bytes)[2], (*bytes)[3]};
}

Result<void> read_allowed(Policy& policy, const toml::table& section) {
    const toml::array* list = section["allow"].as_array();
    if (list == nullptr || list->empty()) return bad("transactions.allow names no contract");
    for (const toml::node& node : *list) {
        const toml::table* entry = node.as_table();
        if (entry == nullptr) return bad("transactions.allow must be a list of tables");
        TRY(only_keys(*entry, "transactions.allow.", {"contract", "functions"}));
        TRY_ASSIGN(const base::Address contract, address_at(*entry, "contract"));
        const toml::array* functions = (*entry)["functions"].as_array();
        if (functions == nullptr || functions->empty())
            return bad("transactions.allow.functions is empty");
        for (const toml::node& function : *functions) {
            const auto text = function.value_exact<std::string>();
            if (!text) return bad("transactions.allow.functions must be strings");
            TRY_ASSIGN(const Selector selector, to_selector(*text));
            policy.allowed_calls.emplace(contract, selector);
        }
    }
    return {};
}

Result<void> read_transactions(Policy& policy, const toml::table& root) {
    TRY_ASSIGN(const toml::table* section, table_at(root, "transactions"));
    TRY(only_keys(*section, "transactions.",
                  {"sender", "per_day", "max_fee_per_gas", "gas_limit_max", "allow"}));
    TRY_ASSIGN(policy.transaction_sender, address_at(*section, "sender"));
    TRY_ASSIGN(policy.transactions_per_day, number_at(*section, "per_day"));
    TRY_ASSIGN(const std::uint64_t max_fee, number_at(*section, "max_fee_per_gas"));
    policy.max_fee_per_gas = max_fee;
    TRY_ASSIGN(policy.gas_limit_max, number_at(*section, "gas_limit_max"));
    return read_allowed(policy, *section);
}

Result<void> read_vouchers(Policy& policy, const toml::table& root) {
    TRY_ASSIGN(const toml::table* section, table_at(root, "vouchers"));
    TRY(only_keys(
        *section, "vouchers.",
        {"contract", "signers", "atoms_per_lease", "atoms_per_provider_and_day", "atoms_per_day"}));
    TRY_ASSIGN(policy.leases, address_at(*section, "contract"));
    const toml::array* signers = (*section)["signers"].as_array();
    if (signers == nullptr) return bad("vouchers.signers must be a list of addresses");
    for (const toml::node& node : *signers) {
        TRY_ASSIGN(const base::Address signer,
                   to_address(node.value_exact<std::string>(), "vouchers.signers"));
        policy.voucher_signers.insert(signer);
    }
    TRY_ASSIGN(policy.voucher_atoms_per_lease, number_at(*section, "atoms_per_lease"));
    TRY_ASSIGN(policy.voucher_atoms_per_provider,
               number_at(*section, "atoms_per_provider_and_day"));
    TRY_ASSIGN(policy.voucher_atoms_per_day, number_at(*section, "atoms_per_day"));
    return {};
}

Result<void> read_tree_heads(Policy& policy, const toml::table& root) {
    TRY_ASSIGN(const toml::table* section, table_at(root, "tree_heads"));
    TRY(only_keys(*section, "tree_heads.", {"contract", "signer"}));
    TRY_ASSIGN(policy.receipt_log, address_at(*section, "contract"));
    TRY_ASSIGN(policy.tree_head_signer, address_at(*section, "signer"));
    return {};
}

}  // namespace

Result<Policy> parse_policy(std::string_view text) {
    if (text.size() > kFileBytes) return bad("larger than 64 KiB");
    const toml::parse_result parsed = toml::parse(text);
    if (!parsed)
        return bad("not TOML at line " + std::to_string(parsed.error().source().begin.line));
    const toml::table& root = parsed.table();
    TRY(only_keys(root, "", {"chain_id", "transactions", "vouchers", "tree_heads"}));
    Policy policy;
    TRY_ASSIGN(policy.chain_id, number_at(root, "chain_id"));
    if (policy.chain_id == 0) return bad("chain_id must be above 0");
    TRY(read_transactions(policy, root));
    TRY(read_vouchers(policy, root));
    TRY(read_tree_heads(policy, root));
    return policy;
}

Result<Policy> read_policy(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) return fail(ErrorCode::data_missing, "no policy file at " + path.string());
    std::string text(kFileBytes + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    return parse_policy(text);
}

std::string make_policy_text(const PolicyTemplate& values) {
    constexpr std::string_view kText =
        R"toml(# What millrace-signer may sign. Everything else is refused.
chain_id = {chain_id}

[transactions]
sender = "{market_operator}"
per_day = 20000
max_fee_per_gas = 500000000000
gas_limit_max = 16777216

[[transactions.allow]]
contract = "{leases}"
functions = [
    "open((({ask}),bytes,(({bid}),bytes,({delegation}),bytes,uint64,uint64,address,uint64)[])[])",
    "claim(bytes)",
    "requestClose(((bytes32,bytes32,uint64),({parties}),uint8)[])",
    "finalizeClose(((bytes32,bytes32,uint64),({parties}))[])",
    "objectTo((({parties}),(bytes32,bytes32),bytes)[])",
]

[[transactions.allow]]
contract = "{receipt_log}"
functions = ["anchor((uint64,bytes32,uint64),(uint64,bytes32,uint64),bytes,bytes32[])"]
{token}
[vouchers]
contract = "{leases}"
signers = ["{delegate}"]
atoms_per_lease = {per_lease}
atoms_per_provider_and_day = {per_provider}
atoms_per_day = {per_day}

[tree_heads]
contract = "{receipt_log}"
signer = "{market_operator}"
)toml";
    constexpr std::string_view kTokenText = R"toml(
[[transactions.allow]]
contract = "{token}"
functions = [
    "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)",
]
)toml";
    constexpr std::string_view kProxyText = R"toml(
[[transactions.allow]]
contract = "{proxy}"
functions = ["{settle}"]
)toml";
    using namespace fmt::literals;
    std::string token;
    if (!values.token.is_zero())
        token += fmt::format(kTokenText, "token"_a = base::to_hex(values.token));
    if (!values.upto_proxy.is_zero())
        token += fmt::format(kProxyText, "proxy"_a = base::to_hex(values.upto_proxy),
                             "settle"_a = eth::kUptoSettle);
    return fmt::format(
        kText, "chain_id"_a = values.chain_id,
        "market_operator"_a = base::to_hex(values.market_operator),
        "leases"_a = base::to_hex(values.leases),
        "receipt_log"_a = base::to_hex(values.receipt_log),
        "delegate"_a = base::to_hex(values.delegate), "token"_a = token,
        "per_lease"_a = values.voucher_atoms_per_lease,
        "per_provider"_a = values.voucher_atoms_per_provider,
        "per_day"_a = values.voucher_atoms_per_day,
        "ask"_a =
            "address,bytes32,uint8,uint64,uint64,uint64,uint8,uint32,uint64,uint64,uint64,"
            "address,bytes32",
        "bid"_a =
            "address,bytes32,uint8,uint64,uint64,bytes32,uint8,uint8,uint64,uint64,uint64,"
            "uint64,address,bytes32",
        "delegation"_a = "address,address,uint8,uint64,uint64,uint64",
        "parties"_a = "address,address,address,address");
}

}  // namespace ledger::signer

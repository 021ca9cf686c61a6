// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/money.hpp"

#include "ledger/base/checked.hpp"

#include <charconv>
#include <limits>

namespace ledger::base {
namespace {
constexpr std::uint64_t kAtomsPerToken = 1'000'000;
constexpr auto kMaxAtoms = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}  // namespace

Result<std::uint64_t> parse_u64(std::string_view text) {
    if (text.empty() || text.size() > 20 || (text.size() > 1 && text[0] == '0'))
        return fail(ErrorCode::invalid_field, "not a decimal number");
    std::uint64_t out = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error == std::errc::result_out_of_range)
        return fail(ErrorCode::out_of_range, "number passes 64 bits");
    if (error != std::errc{} || end != text.data() + text.size())
        return fail(ErrorCode::invalid_field, "not a decimal number");
    return out;
}

Result<Money> Money::plus(Money other) const {
    const auto sum = checked_add(atoms_, other.atoms_);
    if (!sum) return fail(ErrorCode::out_of_range, "amount passes 64 bits");
    return Money(*sum);
}

Result<Money> Money::minus(Money other) const {
    const auto difference = checked_sub(atoms_, other.atoms_);
    if (!difference) return fail(ErrorCode::out_of_range, "amount passes 64 bits");
    return Money(*difference);
}

Result<Money> Money::parse_atoms(std::string_view text) {
    const bool negative = !text.empty() && text[0] == '-';
    TRY_ASSIGN(const std::uint64_t value, parse_u64(negative ? text.substr(1) : text));
    if (value > kMaxAtoms) return fail(ErrorCode::out_of_range, "amount passes 63 bits");
    const auto atoms = static_cast<std::int64_t>(value);
    return Money(negative ? -atoms : atoms);
}

Result<Money> Money::parse_tokens(std::string_view text) {
    const auto dot = text.find('.');
    const std::string_view whole = text.substr(0, dot);
    std::string fraction(dot == std::string_view::npos ? "" : text.substr(dot + 1));
    if (dot != std::string_view::npos && (fraction.empty() || fraction.size() > kDecimals))
        return fail(ErrorCode::invalid_field, "an amount has one to six decimals");
    TRY_ASSIGN(const std::uint64_t tokens, parse_u64(whole));
    fraction.resize(kDecimals, '0');
    std::uint64_t atoms_part = 0;
    for (const char c : fraction) {
        if (c < '0' || c > '9') return fail(ErrorCode::invalid_field, "not a decimal number");
        atoms_part = atoms_part * 10 + static_cast<std::uint64_t>(c - '0');
    }
    const auto scaled = checked_mul(tokens, kAtomsPerToken);
    const auto total = scaled ? checked_add(*scaled, atoms_part) : std::nullopt;
    if (!total || *total > kMaxAtoms) return fail(ErrorCode::out_of_range, "amount is too large");
    return Money(static_cast<std::int64_t>(*total));
}

std::string Money::to_atoms() const {
    return std::to_string(atoms_);
}

std::string Money::to_tokens() const {
    const bool negative = atoms_ < 0;
    const std::uint64_t magnitude =
        negative ? ~static_cast<std::uint64_t>(atoms_) + 1 : static_cast<std::uint64_t>(atoms_);
    std::string out = (negative ? "-" : "") + std::to_string(magnitude / kAtomsPerToken);
    if (std::uint64_t rest = magnitude % kAtomsPerToken; rest != 0) {
        std::string digits = std::to_string(rest + kAtomsPerToken).substr(1);
        while (digits.back() == '0')
            digits.pop_back();
        out += "." + digits;
    }
    return out;
}

}  // namespace ledger::base

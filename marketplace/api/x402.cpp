// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/x402.hpp"

#include "ledger/base/base64.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/keccak.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

namespace marketplace::api {

using ledger::base::as_bytes;
using ledger::base::as_text;
using ledger::base::to_base64;
using ledger::base::to_hex;
using ledger::crypto::to_checksum;
using ledger::eth::TransferAuthorization;
using nlohmann::json;

namespace {

constexpr int kVersion = 2;
constexpr std::size_t kHeaderBytesMax = 8 * 1024;
constexpr std::size_t kUnderWayMax = 64;
constexpr std::uint64_t kSettlingS = 10;  // what is valid for less may not be mined in time

std::string network_of(const PaymentTerms& terms) {
    return fmt::format("eip155:{}", terms.chain_id);
}

ledger::eth::U256 value_of(const PaymentTerms& terms, std::uint64_t atoms) {
    return terms.units_per_atom * atoms;
}

json requirements(const PaymentTerms& terms, std::uint64_t atoms) {
    return {{"scheme", "exact"},
            {"network", network_of(terms)},
            {"amount", ledger::eth::to_decimal(value_of(terms, atoms))},
            {"asset", to_checksum(terms.token)},
            {"payTo", to_checksum(terms.pay_to)},
            {"maxTimeoutSeconds", kPaymentTimeoutS},
            {"extra", {{"name", terms.token_name}, {"version", terms.token_version}}}};
}

json required(const PaymentTerms& terms, const std::string& url, std::uint64_t atoms,
              std::string_view error) {
    return {{"x402Version", kVersion},
            {"error", std::string(error)},
            {"resource",
             {{"url", url},
              {"description", "Inference, priced by its longest answer"},
              {"mimeType", "application/json"}}},
            {"accepts", json::array({requirements(terms, atoms)})}};
}

std::string url_of(const http::Request& request) {
    return fmt::format("http://{}{}", request.header("host").value_or("localhost"), request.path);
}

using Refused = tl::unexpected<PaymentRefusal>;
Refused refuse(std::string reason, int status = 402) {
    return Refused(PaymentRefusal{status, std::move(reason)});
}

/// A member of an object as text; empty when it is not there or no text.
std::string text_at(const json& object, const char* name) {
    if (!object.is_object()) return {};
    const auto found = object.find(name);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

bool is_address(const std::string& text, const domain::Address& wanted) {
    const auto address = ledger::base::parse_fixed<domain::Address>(text);
    return address && *address == wanted;
}

/// What the caller says it accepted must be what is asked for now.
std::optional<PaymentRefusal> check_accepted(const json& accepted, const PaymentTerms& terms,
                                             std::uint64_t atoms) {
    if (text_at(accepted, "scheme") != "exact") return PaymentRefusal{402, "unsupported_scheme"};
    if (text_at(accepted, "network") != network_of(terms))
        return PaymentRefusal{402, "invalid_network"};
    const bool same =
        is_address(text_at(accepted, "asset"), terms.token) &&
        is_address(text_at(accepted, "payTo"), terms.pay_to) &&
        text_at(accepted, "amount") == ledger::eth::to_decimal(value_of(terms, atoms));
    if (!same) return PaymentRefusal{402, "invalid_payment_requirements"};
    return std::nullopt;
}

Result<TokenPayment> read_payload(const json& payload) {
    const json authorization =
        payload.is_object() ? payload.value("authorization", json()) : json();
    TokenPayment out;
    TransferAuthorization& read = out.authorization;
    TRY_ASSIGN(read.from,
               ledger::base::parse_fixed<domain::Address>(text_at(authorization, "from")));
    TRY_ASSIGN(read.to, ledger::base::parse_fixed<domain::Address>(text_at(authorization, "to")));
    TRY_ASSIGN(read.value, ledger::eth::parse_decimal(text_at(authorization, "value")));
    TRY_ASSIGN(read.valid_after_s, ledger::base::parse_u64(text_at(authorization, "validAfter")));
    TRY_ASSIGN(read.valid_before_s, ledger::base::parse_u64(text_at(authorization, "validBefore")));
    TRY_ASSIGN(read.nonce,
               ledger::base::parse_fixed<domain::Hash32>(text_at(authorization, "nonce")));
    TRY_ASSIGN(out.signature,
               ledger::base::parse_fixed<domain::Signature>(text_at(payload, "signature")));
    return out;
}

std::optional<PaymentRefusal> check_payment(const TokenPayment& payment, const PaymentTerms& terms,
                                            std::uint64_t atoms, std::uint64_t now_s) {
    const TransferAuthorization& signed_one = payment.authorization;
    const std::string prefix = "invalid_exact_evm_payload_";
    if (signed_one.to != terms.pay_to) return PaymentRefusal{402, prefix + "recipient_mismatch"};
    if (signed_one.value != value_of(terms, atoms))
        return PaymentRefusal{402, prefix + "authorization_value_mismatch"};
    if (signed_one.valid_after_s > now_s)
        return PaymentRefusal{402, prefix + "authorization_valid_after"};
    if (signed_one.valid_before_s < now_s + kSettlingS)
        return PaymentRefusal{402, prefix + "authorization_valid_before"};
    const auto separator = ledger::eth::token_separator(terms.token_name, terms.token_version,
                                                        terms.chain_id, terms.token);
    const auto signer =
        ledger::crypto::recover(ledger::eth::digest(separator, signed_one), payment.signature);
    if (!signer || *signer != signed_one.from) return PaymentRefusal{402, prefix + "signature"};
    return std::nullopt;
}

}  // namespace

std::string payment_required_json(const PaymentTerms& terms, const std::string& url,
                                  std::uint64_t atoms, std::string_view error) {
    return ledger::rpc::to_text(required(terms, url, atoms, error));
}

http::Response payment_required(const PaymentTerms& terms, const http::Request& request,
                                std::uint64_t atoms, const std::optional<PaymentRefusal>& refusal) {
    const std::string text = payment_required_json(
        terms, url_of(request), atoms, refusal ? refusal->reason : "PAYMENT-SIGNATURE is required");
    http::Response response(refusal ? refusal->status : 402, "application/json", text);
    response.header("PAYMENT-REQUIRED", to_base64(as_bytes(text)));
    response.header("cache-control", "no-store");
    if (refusal) {
        const json failed{{"success", false},
                          {"errorReason", refusal->reason},
                          {"transaction", ""},
                          {"network", network_of(terms)}};
        response.header("PAYMENT-RESPONSE", to_base64(as_bytes(ledger::rpc::to_text(failed))));
    }
    return response;
}

std::string payment_response_json(const PaymentTerms& terms, const TokenPayment& payment,
                                  const domain::Hash32& transaction) {
    return ledger::rpc::to_text({{"success", true},
                                 {"transaction", to_hex(transaction)},
                                 {"network", network_of(terms)},
                                 {"payer", to_checksum(payment.authorization.from)},
                                 {"amount", ledger::eth::to_decimal(payment.authorization.value)}});
}

tl::expected<TokenPayment, PaymentRefusal> parse_payment(std::string_view header,
                                                         const PaymentTerms& terms,
                                                         std::uint64_t atoms, std::uint64_t now_s) {
    if (header.size() > kHeaderBytesMax) return refuse("invalid_payload", 400);
    const auto bytes = ledger::base::parse_base64(header);
    if (!bytes) return refuse("invalid_payload", 400);
    const auto document = ledger::rpc::parse_json(as_text(*bytes));
    if (!document || !document->is_object()) return refuse("invalid_payload", 400);
    if (document->value("x402Version", json()) != json(kVersion))
        return refuse("invalid_x402_version", 400);
    if (const auto wrong = check_accepted(document->value("accepted", json()), terms, atoms))
        return Refused(*wrong);
    const auto payment = read_payload(document->value("payload", json()));
    if (!payment) return refuse("invalid_payload", 400);
    if (const auto wrong = check_payment(*payment, terms, atoms, now_s)) return Refused(*wrong);
    return *payment;
}

std::shared_ptr<PaymentsUnderWay::Place> PaymentsUnderWay::enter(const TokenPayment& payment) {
    ledger::base::Bytes text;
    ledger::base::append(text, payment.authorization.from.span());
    ledger::base::append(text, payment.authorization.nonce.span());
    const domain::Hash32 key = ledger::crypto::keccak256(text);
    const std::lock_guard lock(keys_->mutex);
    if (keys_->all.size() >= kUnderWayMax || !keys_->all.insert(key).second) return nullptr;
    return std::make_shared<Place>(keys_, key);
}

}  // namespace marketplace::api

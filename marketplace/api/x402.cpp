// SPDX-License-Identifier: Apache-2.0
#include "marketplace/api/x402.hpp"

#include "ledger/base/base64.hpp"
#include "ledger/base/hex.hpp"
#include "ledger/base/money.hpp"
#include "ledger/crypto/address.hpp"
#include "ledger/crypto/keccak.hpp"
#include "ledger/crypto/secp256k1.hpp"
#include "ledger/eth/abi.hpp"
#include "ledger/rpc/json.hpp"

#include <fmt/format.h>

#include <algorithm>

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
constexpr std::uint64_t kDeadlineMaxS = 1ULL << 40;

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

json upto_requirements(const PaymentTerms& terms, std::uint64_t atoms) {
    json out = requirements(terms, atoms);
    out["scheme"] = "upto";
    out["maxTimeoutSeconds"] = kUptoTimeoutS;
    out["extra"]["assetTransferMethod"] = "permit2";
    out["extra"]["facilitatorAddress"] = to_checksum(terms.upto->facilitator);
    out["extra"]["leastAmount"] = ledger::eth::to_decimal(value_of(terms, terms.least_atoms));
    return out;
}

json required(const PaymentTerms& terms, const std::string& url, std::uint64_t atoms,
              std::string_view error) {
    json accepts = json::array({requirements(terms, atoms)});
    if (terms.upto) accepts.push_back(upto_requirements(terms, atoms));
    return {{"x402Version", kVersion},
            {"error", std::string(error)},
            {"resource",
             {{"url", url},
              {"description", "Inference, priced by its longest answer"},
              {"mimeType", "application/json"}}},
            {"accepts", std::move(accepts)}};
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
    const std::string scheme = text_at(accepted, "scheme");
    if (scheme != "exact" && !(scheme == "upto" && terms.upto))
        return PaymentRefusal{402, "unsupported_scheme"};
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

json member(const json& object, const char* name) {
    return object.is_object() ? object.value(name, json()) : json();
}

Result<UptoPayment> read_upto(const json& payload) {
    const json signed_one = member(payload, "permit2Authorization");
    const json permitted = member(signed_one, "permitted");
    const json witness = member(signed_one, "witness");
    const auto address = [](const json& object, const char* name) {
        return ledger::base::parse_fixed<domain::Address>(text_at(object, name));
    };
    UptoPayment out;
    ledger::eth::UptoPermit& read = out.permit;
    TRY_ASSIGN(read.payer, address(signed_one, "from"));
    TRY_ASSIGN(read.token, address(permitted, "token"));
    TRY_ASSIGN(read.amount_max, ledger::eth::parse_decimal(text_at(permitted, "amount")));
    TRY_ASSIGN(read.spender, address(signed_one, "spender"));
    TRY_ASSIGN(read.nonce, parse_upto_nonce(text_at(signed_one, "nonce")));
    TRY_ASSIGN(read.deadline_s, ledger::base::parse_u64(text_at(signed_one, "deadline")));
    TRY_ASSIGN(read.receiver, address(witness, "to"));
    TRY_ASSIGN(read.facilitator, address(witness, "facilitator"));
    TRY_ASSIGN(read.valid_after_s, ledger::base::parse_u64(text_at(witness, "validAfter")));
    TRY_ASSIGN(out.signature,
               ledger::base::parse_fixed<domain::Signature>(text_at(payload, "signature")));
    return out;
}

std::optional<PaymentRefusal> check_payment(const UptoPayment& payment, const PaymentTerms& terms,
                                            std::uint64_t atoms, std::uint64_t now_s) {
    const ledger::eth::UptoPermit& permit = payment.permit;
    const auto no = [](const char* reason) { return PaymentRefusal{402, reason}; };
    if (permit.spender != terms.upto->proxy) return no("invalid_permit2_spender");
    if (permit.receiver != terms.pay_to) return no("invalid_permit2_recipient_mismatch");
    if (permit.facilitator != terms.upto->facilitator) return no("upto_facilitator_mismatch");
    if (permit.token != terms.token) return no("permit2_token_mismatch");
    if (permit.amount_max != value_of(terms, atoms)) return no("permit2_amount_mismatch");
    if (permit.valid_after_s > now_s) return no("permit2_not_yet_valid");
    // Half of the time asked for is left to the call. Nobody needs an end beyond its range.
    if (permit.deadline_s < now_s + kUptoTimeoutS / 2 || permit.deadline_s > kDeadlineMaxS)
        return no("permit2_deadline_expired");
    const auto separator = ledger::eth::permit2_separator(terms.chain_id, terms.upto->permit2);
    const auto signer =
        ledger::crypto::recover(ledger::eth::digest(separator, permit), payment.signature);
    if (!signer || *signer != permit.payer) return no("invalid_permit2_signature");
    return std::nullopt;
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

/// The parts of a name behind each other, hashed.
domain::Hash32 name_of_parts(ledger::base::ByteView payer, ledger::base::ByteView nonce,
                             std::string_view scheme) {
    ledger::base::Bytes text;
    ledger::base::append(text, payer);
    ledger::base::append(text, nonce);
    ledger::base::append(text, as_bytes(scheme));
    return ledger::crypto::keccak256(text);
}

template <typename Read>
tl::expected<Payment, PaymentRefusal> checked(const Read& payment, const PaymentTerms& terms,
                                              std::uint64_t atoms, std::uint64_t now_s) {
    if (!payment) return refuse("invalid_payload", 400);
    if (const auto wrong = check_payment(*payment, terms, atoms, now_s)) return Refused(*wrong);
    return *payment;
}

}  // namespace

Result<ledger::eth::U256> parse_upto_nonce(const std::string& text) {
    if (!text.starts_with("0x")) return ledger::eth::parse_decimal(text);
    TRY_ASSIGN(const auto word, ledger::base::parse_fixed<domain::Hash32>(text));
    return ledger::eth::abi::Decoder(word.span()).uint(0);
}

domain::Address payer_of(const Payment& payment) {
    if (const auto* upto = std::get_if<UptoPayment>(&payment)) return upto->permit.payer;
    return std::get<TokenPayment>(payment).authorization.from;
}

domain::Hash32 name_of(const TokenPayment& payment) {
    return name_of_parts(payment.authorization.from.span(), payment.authorization.nonce.span(), "");
}

domain::Hash32 upto_name(const domain::Address& payer, const ledger::eth::U256& nonce) {
    return name_of_parts(payer.span(), ledger::eth::to_be32(nonce), "upto");
}

domain::Hash32 name_of(const UptoPayment& payment) {
    return upto_name(payment.permit.payer, payment.permit.nonce);
}

std::uint64_t upto_charge(const PaymentTerms& terms, std::uint64_t cost_atoms,
                          std::uint64_t ceiling_atoms) {
    if (cost_atoms == 0) return 0;
    return std::min(std::max(cost_atoms, terms.least_atoms), ceiling_atoms);
}

std::string payment_required_json(const PaymentTerms& terms, const std::string& url,
                                  std::uint64_t atoms, std::string_view error) {
    return ledger::rpc::to_text(required(terms, url, atoms, error));
}

http::Response payment_required(const PaymentTerms& terms, const http::Request& request,
                                std::uint64_t atoms, const std::optional<PaymentRefusal>& refusal) {
    std::string error = refusal ? refusal->reason : "PAYMENT-SIGNATURE is required";
    if (refusal && !refusal->help.empty()) error += ": " + refusal->help;
    const std::string text = payment_required_json(terms, url_of(request), atoms, error);
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

std::string payment_response_json(const PaymentTerms& terms, const Payment& payment,
                                  std::uint64_t atoms, const domain::Hash32& transaction) {
    return ledger::rpc::to_text({{"success", true},
                                 {"transaction", atoms == 0 ? std::string() : to_hex(transaction)},
                                 {"network", network_of(terms)},
                                 {"payer", to_checksum(payer_of(payment))},
                                 {"amount", ledger::eth::to_decimal(value_of(terms, atoms))}});
}

tl::expected<Payment, PaymentRefusal> parse_payment(std::string_view header,
                                                    const PaymentTerms& terms, std::uint64_t atoms,
                                                    std::uint64_t now_s) {
    if (header.size() > kHeaderBytesMax) return refuse("invalid_payload", 400);
    const auto bytes = ledger::base::parse_base64(header);
    if (!bytes) return refuse("invalid_payload", 400);
    const auto document = ledger::rpc::parse_json(as_text(*bytes));
    if (!document || !document->is_object()) return refuse("invalid_payload", 400);
    if (document->value("x402Version", json()) != json(kVersion))
        return refuse("invalid_x402_version", 400);
    const json accepted = document->value("accepted", json());
    if (const auto wrong = check_accepted(accepted, terms, atoms)) return Refused(*wrong);
    const json payload = document->value("payload", json());
    if (text_at(accepted, "scheme") == "upto")
        return checked(read_upto(payload), terms, atoms, now_s);
    return checked(read_payload(payload), terms, atoms, now_s);
}

std::shared_ptr<PaymentsUnderWay::Place> PaymentsUnderWay::enter(const Payment& payment) {
    const domain::Hash32 key = std::visit([](const auto& one) { return name_of(one); }, payment);
    const std::lock_guard lock(keys_->mutex);
    if (keys_->all.size() >= kUnderWayMax || !keys_->all.insert(key).second) return nullptr;
    return std::make_shared<Place>(keys_, key);
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
// What became of payments up to an amount: a stream's last byte leaves before its payment is taken.
#include "ledger/base/hex.hpp"
#include "ledger/crypto/address.hpp"
#include "marketplace/api/handlers.hpp"

namespace marketplace::api {

using ledger::base::Error;
using ledger::base::ErrorCode;

namespace {

void get_payment(Services& services, const http::RequestPtr& request, const http::Reply& reply) {
    const auto payer = ledger::crypto::parse_address(request->param("payer"));
    if (!payer) return reply(error_response(*request, payer.error()));
    const auto nonce = parse_upto_nonce(std::string(request->param("nonce")));
    if (!nonce) return reply(error_response(*request, nonce.error()));
    const PaymentPort* payments = services.context.payments;
    if (payments == nullptr)
        return reply(error_response(
            *request, Error(ErrorCode::not_found, "this market takes no payments by the call")));
    answer_from_desk(services, request, reply, [payments, request, payer = *payer, nonce = *nonce] {
        const auto standing = payments->standing(upto_name(payer, nonce));
        if (!standing) return error_response(*request, standing.error());
        Json out{
            {"object", "payment"},
            {"scheme", "upto"},
            {"payer", ledger::crypto::to_checksum(payer)},
            {"nonce", ledger::eth::to_decimal(nonce)},
            {"state", standing->state},
            {"amount", ledger::eth::to_decimal(payments->terms().units_per_atom * standing->atoms)},
            {"transaction", nullptr}};
        if (standing->transaction)
            out["transaction"] = ledger::base::to_hex(*standing->transaction);
        return json_response(out);
    });
}

}  // namespace

void add_payment_routes(RouteTable& table, Services& services) {
    table.add({http::Method::kGet, "/v1/payments/{payer}/{nonce}", "getPayment", "inference",
               "What became of a payment up to an amount (x402)"},
              [&services](const auto& request, const auto& reply) {
                  get_payment(services, request, reply);
              });
}

}  // namespace marketplace::api

// SPDX-License-Identifier: Apache-2.0
#include "marketplace/webhooks/signing.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace marketplace::webhooks {
namespace {

constexpr TimeMs kNow = 1'800'000'000'000;

Endpoint endpoint() {
    Endpoint out;
    out.secret.resize(kSecretBytes);
    std::iota(out.secret.begin(), out.secret.end(), std::uint8_t{0});
    return out;
}

}  // namespace

// Signatures made with the npm package standardwebhooks 1.1.1.
TEST_CASE("signing: the header as the public library makes it") {
    CHECK(secret_text(endpoint().secret) == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    CHECK(signatures(endpoint(), "msg_1", R"({"type":"webhook.test"})", kNow + 999) ==
          "v1,hnC3umByTNa9+f+Cnqs/D+iyatSF+l1Sx6rEWDCsegA=");
}

TEST_CASE("signing: after a rotation both secrets sign for a day, then the new one alone") {
    Endpoint rotated = endpoint();
    Bytes fresh(kSecretBytes);
    for (std::size_t i = 0; i < fresh.size(); ++i)
        fresh[i] = static_cast<std::uint8_t>(255 - i);
    rotate(rotated, fresh, kNow);
    const std::string body = R"({"type":"webhook.test"})";
    const std::string by_new = "v1,ewyU4UPtEomuSbj3XU2bhDiCZ5JABuVEUvC1Q6L2DiI=";
    CHECK(signatures(rotated, "msg_1", body, kNow) ==
          by_new + " v1,hnC3umByTNa9+f+Cnqs/D+iyatSF+l1Sx6rEWDCsegA=");
    const auto count = [&](TimeMs now_ms) {
        const std::string header = signatures(rotated, "msg_1", body, now_ms);
        return std::count(header.begin(), header.end(), ' ') + 1;
    };
    CHECK(count(kNow + kOldSecretMs - 1) == 2);
    CHECK(count(kNow + kOldSecretMs) == 1);
}

}  // namespace marketplace::webhooks

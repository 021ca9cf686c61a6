// SPDX-License-Identifier: Apache-2.0
// The low-level calls: EVP looks the algorithm up anew for every hash, which takes longer than
// hashing a record of the log.
#define OPENSSL_SUPPRESS_DEPRECATED
#include "ledger/base/sha256.hpp"

#include "ledger/base/check.hpp"

#include <openssl/sha.h>

namespace ledger::base {

struct Sha256::Context {
    SHA256_CTX ctx{};
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
    MR_CHECK(SHA256_Init(&context_->ctx) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(ByteView bytes) {
    MR_CHECK(SHA256_Update(&context_->ctx, bytes.data(), bytes.size()) == 1);
}

Hash32 Sha256::finish() {
    Hash32 out;
    MR_CHECK(SHA256_Final(out.data(), &context_->ctx) == 1);
    return out;
}

Hash32 sha256(ByteView bytes) {
    SHA256_CTX ctx{};
    Hash32 out;
    MR_CHECK(SHA256_Init(&ctx) == 1);
    MR_CHECK(SHA256_Update(&ctx, bytes.data(), bytes.size()) == 1);
    MR_CHECK(SHA256_Final(out.data(), &ctx) == 1);
    return out;
}

}  // namespace ledger::base

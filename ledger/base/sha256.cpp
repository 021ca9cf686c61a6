// SPDX-License-Identifier: Apache-2.0
#include "ledger/base/sha256.hpp"

#include "ledger/base/check.hpp"

#include <openssl/evp.h>

namespace ledger::base {

struct Sha256::Context {
    EVP_MD_CTX* ctx = EVP_MD_CTX_new();
    Context() = default;
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context() { EVP_MD_CTX_free(ctx); }
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {
    MR_CHECK(context_->ctx != nullptr);
    MR_CHECK(EVP_DigestInit_ex(context_->ctx, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;

void Sha256::update(ByteView bytes) {
    MR_CHECK(EVP_DigestUpdate(context_->ctx, bytes.data(), bytes.size()) == 1);
}

Hash32 Sha256::finish() {
    Hash32 out;
    unsigned int size = 0;
    MR_CHECK(EVP_DigestFinal_ex(context_->ctx, out.data(), &size) == 1);
    MR_CHECK(size == Hash32::kSize);
    return out;
}

Hash32 sha256(ByteView bytes) {
    Sha256 hasher;
    hasher.update(bytes);
    return hasher.finish();
}

}  // namespace ledger::base

// SPDX-License-Identifier: Apache-2.0
#include "ledger/audit/signature_checker.hpp"

#include "ledger/crypto/secp256k1.hpp"

#include <algorithm>
#include <thread>
#include <utility>

namespace ledger::audit::detail {

namespace {
constexpr std::size_t kBatch = 8192;
}

SignatureChecker::SignatureChecker(Findings& findings, unsigned threads)
    : findings_(findings),
      threads_(threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency())) {
    filling_.reserve(kBatch);
}

SignatureChecker::~SignatureChecker() {
    for (auto& worker : workers_)
        if (worker.valid()) worker.wait();
}

void SignatureChecker::add(const base::Hash32& digest, const base::Signature& signature,
                           const base::Address& signer, FindingCode code, std::string where) {
    filling_.push_back({digest, signature, signer, code, std::move(where), false});
    if (filling_.size() >= kBatch) start_batch();
}

void SignatureChecker::finish() {
    start_batch();
    collect();
}

void SignatureChecker::collect() {
    for (auto& worker : workers_)
        worker.get();
    workers_.clear();
    for (Task& task : running_)
        if (!task.good)
            findings_.add(task.code, std::move(task.where),
                          "not signed by " + base::to_hex(task.signer));
    running_.clear();
}

void SignatureChecker::start_batch() {
    collect();
    std::swap(running_, filling_);
    const std::size_t share = (running_.size() + threads_ - 1) / threads_;
    for (std::size_t begin = 0; begin < running_.size(); begin += share) {
        const std::size_t end = std::min(begin + share, running_.size());
        workers_.push_back(std::async(std::launch::async, [this, begin, end] {
            for (std::size_t i = begin; i < end; ++i) {
                Task& task = running_[i];
                task.good = crypto::verify(task.digest, task.signature, task.signer).has_value();
            }
        }));
    }
}

}  // namespace ledger::audit::detail

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "ledger/audit/findings.hpp"
#include "ledger/base/bytes.hpp"

#include <future>
#include <string>
#include <vector>

namespace ledger::audit::detail {

/// Checks signatures in batches on several threads while the caller reads on. Findings come in the
/// order of `add`, at the latest with `finish`. Holds at most two batches.
class SignatureChecker {
 public:
    SignatureChecker(Findings& findings, unsigned threads);
    ~SignatureChecker();
    SignatureChecker(const SignatureChecker&) = delete;
    SignatureChecker& operator=(const SignatureChecker&) = delete;

    void add(const base::Hash32& digest, const base::Signature& signature,
             const base::Address& signer, FindingCode code, std::string where);
    void finish();

 private:
    struct Task {
        base::Hash32 digest;
        base::Signature signature;
        base::Address signer;
        FindingCode code;
        std::string where;
        bool good = false;
    };
    void start_batch();
    void collect();

    Findings& findings_;
    unsigned threads_;
    std::vector<Task> filling_;
    std::vector<Task> running_;
    std::vector<std::future<void>> workers_;
};

}  // namespace ledger::audit::detail

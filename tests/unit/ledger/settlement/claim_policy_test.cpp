// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/claim_policy.hpp"

#include <doctest/doctest.h>

using namespace ledger::settlement;  // NOLINT: the room under test
using ledger::eth::U256;

TEST_CASE("claim policy: a claim is due at its worth or at its age, and never for nothing") {
    const ClaimPolicy policy{.least_atoms = 1000, .age_max_ms = 60'000};
    CHECK_FALSE(policy.is_due(0, 1'000'000));
    CHECK_FALSE(policy.is_due(999, 59'999));
    CHECK(policy.is_due(1000, 0));
    CHECK(policy.is_due(1, 60'000));
}

TEST_CASE("claim policy: a claim is worth a hundred times its gas") {
    // 30,000 gas at 1 gwei are 30,000 gwei = 3e-5 coins; of 3,000 tokens a coin: 0.09 tokens.
    const U256 gwei = 1'000'000'000;
    CHECK(worthwhile_atoms(gwei, 3'000'000'000) == 9'000'000);
    CHECK(worthwhile_atoms(gwei * 2, 3'000'000'000) == 18'000'000);
    CHECK(worthwhile_atoms(0, 3'000'000'000) == 1);
    CHECK(worthwhile_atoms(gwei, 0) == 1);
    CHECK(worthwhile_atoms(U256(1) << 255, UINT64_MAX) == UINT64_MAX);
}

// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/batch.hpp"

#include "tests/unit/ledger/settlement/submitter_fixture.hpp"

#include <numeric>
#include <set>

using namespace tests;  // NOLINT: test file
using support::Result;

namespace {

/// Items that need gas each; those in `poison` let every batch they are in fail.
struct Gate {
    std::vector<std::uint64_t> gas;
    std::set<std::size_t> poison;
    ErrorCode refusal = ErrorCode::chain_refused;
    std::size_t tries = 0;

    BatchFit fit() {
        return submit_fitting(gas.size(),
                              [this](const Positions& items) -> Result<void> {
                                  ++tries;
                                  std::uint64_t sum = 0;
                                  for (const std::size_t item : items) {
                                      if (poison.contains(item)) return ledger::base::fail(refusal);
                                      sum += gas[item];
                                  }
                                  if (sum > 100) return ledger::base::fail(ErrorCode::too_large);
                                  return {};
                              })
            .value();
    }
};

Positions first(std::size_t count) {
    Positions out(count);
    std::iota(out.begin(), out.end(), 0U);
    return out;
}

}  // namespace

TEST_CASE("batch: an error that is no verdict ends it, and nothing is no batch") {
    for (const ErrorCode code : {ErrorCode::chain_unreachable, ErrorCode::timeout,
                                 ErrorCode::queue_full, ErrorCode::foreign_nonce}) {
        int tries = 0;
        const auto fit = submit_fitting(8, [&](const Positions&) -> Result<void> {
            ++tries;
            return ledger::base::fail(code);
        });
        CHECK(fit.error().code() == code);
        CHECK(tries == 1);
    }
    Gate none;
    CHECK(none.fit().sent.empty());
    CHECK(none.tries == 0);
}

TEST_CASE("batch: what fits goes at once, what does not is halved until it does") {
    Gate gate{std::vector<std::uint64_t>(10, 10), {}};
    CHECK(gate.fit().sent == first(10));
    CHECK(gate.tries == 1);
    gate = Gate{std::vector<std::uint64_t>(50, 10), {}};
    CHECK(gate.fit().sent == first(6));
    CHECK(gate.tries == 4);
}

TEST_CASE("batch: a poisonous item anywhere is set aside, the others go") {
    for (const ErrorCode refusal : {ErrorCode::chain_refused, ErrorCode::too_large}) {
        for (std::size_t place = 0; place < 10; ++place) {
            Gate gate{std::vector<std::uint64_t>(10, 5), {place}, refusal};
            std::set<std::size_t> done;
            // Round by round, as a loop does: what was sent or set aside is not offered again.
            for (int round = 0; round < 10 && done.size() < 10; ++round) {
                const auto fit = submit_fitting(10 - done.size(), [&](const Positions& items) {
                    Positions real;
                    std::size_t at = 0;
                    for (std::size_t i = 0; i < 10; ++i)
                        if (!done.contains(i) && std::count(items.begin(), items.end(), at++) > 0)
                            real.push_back(i);
                    return std::count(real.begin(), real.end(), place) > 0
                               ? Result<void>(ledger::base::fail(refusal))
                               : Result<void>();
                });
                Positions names;
                for (std::size_t i = 0; i < 10; ++i)
                    if (!done.contains(i)) names.push_back(i);
                for (const std::size_t item : fit->set_aside)
                    CHECK(names[item] == place);
                for (const auto* items : {&fit->sent, &fit->set_aside})
                    for (const std::size_t item : *items)
                        done.insert(names[item]);
            }
            CHECK(done.size() == 10);
        }
    }
    Gate all{std::vector<std::uint64_t>(4, 500), {}};
    const BatchFit fit = all.fit();
    CHECK(fit.sent.empty());
    CHECK(fit.set_aside == first(4));
    CHECK(pick(std::vector<char>{'a', 'b', 'c'}, {0, 2}) == std::vector<char>{'a', 'c'});
}

TEST_CASE("batch: a submitter takes an estimate of half the gas limit and no more") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    f.chain.gas = f.options.gas_limit_max / 2 + 1;
    CHECK(f.submitter->submit(instruction("a")).error().code() == ErrorCode::too_large);
    CHECK(!f.store.next_nonce().value());
    f.chain.gas = f.options.gas_limit_max / 2;
    CHECK(f.submitter->submit(instruction("a"))->gas_limit == f.options.gas_limit_max / 8 * 5);
}

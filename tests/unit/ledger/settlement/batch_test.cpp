// SPDX-License-Identifier: Apache-2.0
#include "ledger/settlement/batch.hpp"

#include "tests/unit/ledger/settlement/submitter_fixture.hpp"

#include <numeric>
#include <utility>

using namespace tests;  // NOLINT: test file
using support::Result;

namespace {

/// Items that need gas each; a batch may need 100.
struct Gate {
    std::vector<std::uint64_t> gas;
    std::size_t tries = 0;

    BatchFit fit() {
        return submit_fitting(gas.size(),
                              [this](const Positions& items) -> Result<void> {
                                  ++tries;
                                  std::uint64_t sum = 0;
                                  for (const std::size_t item : items)
                                      sum += gas[item];
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
    Gate gate{std::vector<std::uint64_t>(10, 10)};
    CHECK(gate.fit().sent == first(10));
    CHECK(gate.tries == 1);
    gate = Gate{std::vector<std::uint64_t>(50, 10)};
    CHECK(gate.fit().sent == first(6));
    CHECK(gate.tries == 4);
}

TEST_CASE("batch: a poisonous item anywhere is set aside, the others go") {
    for (const ErrorCode refusal : {ErrorCode::chain_refused, ErrorCode::too_large}) {
        for (std::size_t poison = 0; poison < 10; ++poison) {
            Positions offered = first(10);
            Positions sent;
            Positions set_aside;
            // Round by round, as a loop does: what was sent or set aside is not offered again.
            while (!offered.empty()) {
                const auto fit = submit_fitting(offered.size(), [&](const Positions& chosen) {
                    const Positions items = pick(offered, chosen);
                    return std::count(items.begin(), items.end(), poison) > 0
                               ? Result<void>(ledger::base::fail(refusal))
                               : Result<void>();
                });
                const Positions before = offered;
                for (auto [from, to] :
                     {std::pair(&fit->sent, &sent), std::pair(&fit->set_aside, &set_aside)})
                    for (const std::size_t item : pick(before, *from)) {
                        to->push_back(item);
                        std::erase(offered, item);
                    }
            }
            CHECK(set_aside == Positions{poison});
            CHECK(sent.size() == 9);
        }
    }
    Gate all{std::vector<std::uint64_t>(4, 500)};
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

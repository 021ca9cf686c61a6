// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ledger/settlement/submitter_fixture.hpp"

#include <set>

using namespace tests;  // NOLINT: test file

namespace {

constexpr int kActions = 8;
constexpr int kDepth = 4;

/// One thing that can happen. Numbers are the digits of a sequence.
void happen(SubmitterFixture& f, int action) {
    switch (action) {
        case 0:
            static_cast<void>(f.submitter->submit(instruction("second")));
            break;
        case 1:
            static_cast<void>(f.submitter->poll());
            break;
        case 2:
            f.chain.mine();
            break;
        case 3:
            f.restart();
            break;
        case 4:
            f.chain.reorganise(1, FakeChain::Undone::kDropped);
            break;
        case 5:
            f.chain.drop_pool();
            break;
        case 6:  // long enough for a fee bump, and its answer is lost
            f.clock.now += f.options.bump_after_ms;
            f.chain.lose_send_answers = true;
            static_cast<void>(f.submitter->poll());
            f.chain.lose_send_answers = false;
            break;
        case 7:  // the node is away while we act
            f.chain.fault = [](std::string_view method) -> std::optional<Error> {
                if (method == "receipt" || method == "send_raw")
                    return Error(ErrorCode::chain_unreachable);
                return std::nullopt;
            };
            f.clock.now += f.options.resend_after_ms;
            static_cast<void>(f.submitter->poll());
            f.chain.fault = nullptr;
            break;
    }
}

/// Once faults stop, everything finishes, once (I-08, I-09, I-14).
void heal_and_check(SubmitterFixture& f) {
    for (int i = 0; i < 12 && f.submitter->in_flight() > 0; ++i) {
        f.clock.now += f.options.resend_after_ms;
        REQUIRE(f.submitter->poll());
        f.chain.mine();
    }
    REQUIRE(f.submitter->in_flight() == 0);
    std::set<std::uint64_t> nonces;
    for (const char* id : {"first", "second"}) {
        const auto record = f.store.find(id).value();
        if (!record) continue;
        REQUIRE(record->state == TransactionState::kFinal);
        REQUIRE(nonces.insert(record->nonce).second);
        REQUIRE(f.chain.times_mined(record->instruction.data) == 1);
    }
}

}  // namespace

TEST_CASE("submitter: every order of faults up to four steps ends with each batch final once") {
    int sequences = 1;
    for (int i = 0; i < kDepth; ++i)
        sequences *= kActions;
    for (int number = 0; number < sequences; ++number) {
        CAPTURE(number);
        SubmitterFixture f;
        f.options.finality_depth = 3;
        f.restart();
        REQUIRE(f.submitter->submit(instruction("first")));
        int left = number;
        for (int i = 0; i < kDepth; ++i) {
            happen(f, left % kActions);
            left /= kActions;
        }
        heal_and_check(f);
    }
}

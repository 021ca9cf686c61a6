// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/ledger/settlement/submitter_fixture.hpp"

using namespace tests;  // NOLINT: test file

TEST_CASE("submitter: signs nothing before it is reconciled, nor on another chain") {
    SubmitterFixture f;
    CHECK(f.submitter->submit(instruction("a")).error().code() == ErrorCode::wrong_state);
    CHECK(f.submitter->poll().error().code() == ErrorCode::wrong_state);
    f.chain.id = 1;
    CHECK(f.submitter->start().error().code() == ErrorCode::chain_mismatch);
    f.chain.id = 31337;
    f.chain.fault = [](std::string_view) { return Error(ErrorCode::chain_unreachable); };
    CHECK(f.submitter->start().error().code() == ErrorCode::chain_unreachable);
    f.chain.fault = nullptr;
    CHECK(f.submitter->start());
}

TEST_CASE("submitter: a call the chain refuses uses no nonce") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    f.chain.estimate_refusal = "reverted 0x1234";
    CHECK(f.submitter->submit(instruction("a")).error().code() == ErrorCode::chain_refused);
    CHECK(!f.store.next_nonce().value());
    f.chain.estimate_refusal.clear();
    CHECK(f.submitter->submit(instruction("b"))->nonce == 0);
}

TEST_CASE("submitter: bad ids, a signer that is down and altered signatures are refused") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    CHECK(f.submitter->submit(instruction("")).error().code() == ErrorCode::invalid_field);
    CHECK(f.submitter->submit(instruction(std::string(65, 'x'))).error().code() ==
          ErrorCode::invalid_field);
    test_signer().broken = true;
    CHECK(f.submitter->submit(instruction("a")).error().code() == ErrorCode::unavailable);
    test_signer().broken = false;
    test_signer().tamper = true;
    CHECK(f.submitter->submit(instruction("a")).error().code() == ErrorCode::invalid_signature);
    test_signer().tamper = false;
    CHECK(f.chain.pooled() == 0);
    CHECK(!f.store.next_nonce().value());
}

TEST_CASE("submitter: one id is sent once, and never with another body") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    const auto first = f.submitter->submit(instruction("a"));
    REQUIRE(first);
    CHECK(f.submitter->submit(instruction("a"))->nonce == first->nonce);
    Instruction other = instruction("a");
    other.data.push_back(1);
    CHECK(f.submitter->submit(other).error().code() == ErrorCode::exists_with_different_body);
    f.restart();
    CHECK(f.submitter->submit(instruction("a"))->versions[0].hash == first->versions[0].hash);
    f.chain.mine();
    CHECK(f.chain.times_mined(instruction("a").data) == 1);
}

TEST_CASE("submitter: no more in flight than the node keeps") {
    SubmitterFixture f;
    f.options.in_flight_max = 3;
    f.restart();
    for (const char* id : {"a", "b", "c"})
        REQUIRE(f.submitter->submit(instruction(id)));
    CHECK(f.submitter->submit(instruction("d")).error().code() == ErrorCode::queue_full);
    f.chain.mine();
    f.chain.mine();
    CHECK(f.poll_count(Kind::kFinal) == 3);
    CHECK(f.submitter->submit(instruction("d"))->nonce == 3);
}

TEST_CASE("submitter: mined, then final at the depth asked for") {
    SubmitterFixture f;
    f.options.finality_depth = 3;
    f.restart();
    REQUIRE(f.submitter->submit(instruction("a")));
    CHECK(f.submitter->poll()->empty());
    f.chain.mine();
    CHECK(f.poll_count(Kind::kMined) == 1);
    CHECK(f.submitter->poll()->empty());
    f.chain.mine();
    CHECK(f.submitter->poll()->empty());
    f.chain.mine();
    CHECK(f.poll_count(Kind::kFinal) == 1);
    CHECK(f.submitter->in_flight() == 0);
    CHECK(f.store.find("a").value()->state == TransactionState::kFinal);
}

TEST_CASE("submitter: a lost answer or a dead node is unknown, never a second transaction") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    f.chain.lose_send_answers = true;
    REQUIRE(f.submitter->submit(instruction("lost")));
    f.chain.lose_send_answers = false;
    f.chain.fault = [](std::string_view method) -> std::optional<Error> {
        if (method == "send_raw") return Error(ErrorCode::chain_unreachable);
        return std::nullopt;
    };
    REQUIRE(f.submitter->submit(instruction("never")));
    f.chain.fault = nullptr;
    f.chain.mine();
    CHECK(f.chain.times_mined(instruction("lost").data) == 1);
    CHECK(f.chain.times_mined(instruction("never").data) == 0);
    f.clock.now += f.options.resend_after_ms;
    REQUIRE(f.submitter->poll());
    f.chain.mine();
    CHECK(f.chain.times_mined(instruction("lost").data) == 1);
    CHECK(f.chain.times_mined(instruction("never").data) == 1);
}

TEST_CASE("submitter: goes on after a crash between storing and sending") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    f.chain.fault = [](std::string_view method) -> std::optional<Error> {
        if (method == "send_raw") return Error(ErrorCode::chain_refused, "crashed here");
        return std::nullopt;
    };
    REQUIRE(f.submitter->submit(instruction("a")));
    f.chain.fault = nullptr;
    CHECK(f.store.find("a").value()->state == TransactionState::kSigned);
    f.restart();
    REQUIRE(f.submitter->poll());
    f.chain.mine();
    f.chain.mine();
    CHECK(f.poll_count(Kind::kFinal) == 1);
}

TEST_CASE("submitter: replaces a stuck transaction by one that pays a tenth more on both fees") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    const auto record = f.submitter->submit(instruction("a"));
    REQUIRE(record);
    f.chain.base_fee = 100'000'000'000;  // above what it may pay
    f.chain.mine();
    CHECK(f.submitter->poll()->empty());
    f.clock.now += f.options.bump_after_ms;
    CHECK(f.poll_count(Kind::kBumped) == 1);
    CHECK(*f.chain.pooled_fee(test_key().address(), 0) >= 100'000'000'000);
    CHECK(f.store.find("a").value()->versions.size() == 2);
    f.chain.mine();
    f.chain.mine();
    CHECK(f.poll_count(Kind::kFinal) == 1);
    CHECK(f.chain.times_mined(instruction("a").data) == 1);
}

TEST_CASE("submitter: never pays above its cap, and stops at its number of versions") {
    SubmitterFixture f;
    f.options.max_fee_per_gas_cap = 4'000'000'000;
    f.options.versions_max = 3;
    f.restart();
    REQUIRE(f.submitter->submit(instruction("a")));
    f.chain.base_fee = 100'000'000'000;
    for (int i = 0; i < 10; ++i) {
        f.clock.now += f.options.bump_after_ms;
        REQUIRE(f.submitter->poll());
        CHECK(*f.chain.pooled_fee(test_key().address(), 0) <= 4'000'000'000);
    }
    CHECK(f.store.find("a").value()->versions.size() <= 3);
    CHECK(f.submitter->submit(instruction("b")).error().code() == ErrorCode::unavailable);
}

TEST_CASE("submitter: the first version may be mined after the second was sent") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    const auto record = f.submitter->submit(instruction("a"));
    f.chain.drop_pool();
    f.clock.now += f.options.bump_after_ms;
    CHECK(f.poll_count(Kind::kBumped) == 1);
    f.chain.drop_pool();
    REQUIRE(f.chain.send_raw(record->versions[0].raw));
    f.chain.mine();
    f.chain.mine();
    CHECK(f.poll_count(Kind::kFinal) == 1);
    CHECK(f.store.find("a").value()->mined->transaction_hash == record->versions[0].hash);
}

TEST_CASE("submitter: a reorganisation below finality is undone, dropped or pooled") {
    for (const auto undone : {FakeChain::Undone::kDropped, FakeChain::Undone::kPooled}) {
        SubmitterFixture f;
        f.options.finality_depth = 5;
        f.restart();
        REQUIRE(f.submitter->submit(instruction("a")));
        f.chain.mine();
        CHECK(f.poll_count(Kind::kMined) == 1);
        f.chain.reorganise(1, undone);
        CHECK(f.poll_count(Kind::kUndone) == 1);
        f.chain.mine();
        CHECK(f.poll_count(Kind::kMined) == 1);
        for (int i = 0; i < 4; ++i)
            f.chain.mine();
        CHECK(f.poll_count(Kind::kFinal) == 1);
        CHECK(f.chain.times_mined(instruction("a").data) == 1);
    }
}

TEST_CASE("submitter: a nonce spent by another program halts it, and a restart does not help") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    REQUIRE(f.submitter->submit(instruction("a")));
    f.chain.drop_pool();
    ledger::eth::Transaction foreign;
    foreign.chain_id = 31337;
    foreign.nonce = 0;
    foreign.max_fee_per_gas = 5'000'000'000;
    foreign.gas_limit = 21'000;
    foreign.to = support::Address();
    REQUIRE(f.chain.send_raw(test_signer().sign(foreign).value()));
    f.chain.mine();
    REQUIRE(f.submitter->poll());
    REQUIRE(f.submitter->poll());
    CHECK(!f.submitter->halted());
    CHECK(f.submitter->poll().error().code() == ErrorCode::foreign_nonce);
    CHECK(f.submitter->submit(instruction("b")).error().code() == ErrorCode::foreign_nonce);
    CHECK(f.chain.times_mined(instruction("a").data) == 0);

    // The operator's word ends what lost its nonce, once the other one is final.
    f.options.finality_depth = 3;
    f.options.adopt_chain_nonce = true;
    f.restart();
    CHECK(f.submitter->in_flight() == 1);
    f.chain.mine();
    f.chain.mine();
    f.restart();
    CHECK(f.submitter->in_flight() == 0);
    const auto events = f.submitter->poll();
    REQUIRE(events);
    REQUIRE(events->size() == 1);
    CHECK((*events)[0].kind == Kind::kFinal);
    CHECK(!(*events)[0].record.mined);
    CHECK(f.submitter->submit(instruction("b"))->nonce == 1);
}

TEST_CASE("submitter: a foreign nonce seen at start halts; the operator may adopt it") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    REQUIRE(f.submitter->submit(instruction("a")));
    f.chain.mine();
    f.chain.mine();
    REQUIRE(f.submitter->poll());
    ledger::eth::Transaction foreign;
    foreign.chain_id = 31337;
    foreign.nonce = 1;
    foreign.max_fee_per_gas = 5'000'000'000;
    foreign.gas_limit = 21'000;
    foreign.to = support::Address();
    REQUIRE(f.chain.send_raw(test_signer().sign(foreign).value()));
    f.chain.mine();
    f.make();
    CHECK(f.submitter->start().error().code() == ErrorCode::foreign_nonce);
    f.options.adopt_chain_nonce = true;
    f.restart();
    CHECK(f.submitter->submit(instruction("b"))->nonce == 2);
}

TEST_CASE("submitter: a chain that lost final transactions is another chain") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    REQUIRE(f.submitter->submit(instruction("a")));
    f.chain.mine();
    f.chain.mine();
    REQUIRE(f.submitter->poll());
    f.chain.reorganise(2, FakeChain::Undone::kDropped);
    for (const bool adopt : {false, true}) {
        f.options.adopt_chain_nonce = adopt;
        f.make();
        CHECK(f.submitter->start().error().code() == ErrorCode::chain_mismatch);
    }
}

TEST_CASE("submitter: what never arrived is sent again although no receipt can be asked for") {
    SubmitterFixture f;
    REQUIRE(f.submitter->start());
    std::string_view silent = "send_raw";
    f.chain.fault = [&](std::string_view method) -> std::optional<Error> {
        if (method != silent) return std::nullopt;
        return Error(ErrorCode::chain_unreachable);
    };
    REQUIRE(f.submitter->submit(instruction("a")));
    silent = "receipt";
    CHECK_FALSE(f.submitter->poll());  // too early to send again
    f.chain.mine();
    CHECK(f.chain.times_mined(instruction("a").data) == 0);
    f.clock.now += f.options.resend_after_ms;
    CHECK(f.submitter->poll().error().code() == ErrorCode::chain_unreachable);
    f.chain.mine();
    CHECK(f.chain.times_mined(instruction("a").data) == 1);
}

TEST_CASE("submitter: with 80 of 100 questions failing everything is final once") {
    SubmitterFixture f;
    std::uint64_t seed = 12345;
    const auto draw = [&] {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        return (seed >> 33) % 100;
    };
    REQUIRE(f.submitter->start());
    f.chain.fault = [&](std::string_view) -> std::optional<Error> {
        if (draw() >= 80) return std::nullopt;
        constexpr ErrorCode kWays[] = {ErrorCode::chain_unreachable, ErrorCode::timeout,
                                       ErrorCode::chain_bad_answer};
        return Error(kWays[draw() % 3]);
    };
    std::size_t finals = 0;
    std::size_t submitted = 0;
    // A round makes a batch final when its four questions are all answered, once in 625, and finds
    // the next batch behind it only then: 10 batches take some 8,000 rounds.
    for (int round = 0; round < 20'000 && finals < 10; ++round) {
        f.chain.lose_send_answers = draw() < 80;
        if (submitted < 10 && f.submitter->submit(instruction("b" + std::to_string(submitted))))
            ++submitted;
        f.clock.now += 1'000;
        if (round % 3 == 0) f.chain.mine();
        if (const auto events = f.submitter->poll())
            for (const auto& event : *events)
                finals += event.kind == Kind::kFinal ? 1U : 0U;
    }
    CHECK(finals == 10);
    for (std::size_t i = 0; i < 10; ++i)
        CHECK(f.chain.times_mined(instruction("b" + std::to_string(i)).data) == 1);
}

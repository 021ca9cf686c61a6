// SPDX-License-Identifier: Apache-2.0
#include "ledger/log/merkle_tree.hpp"
#include "tests/unit/worker/agent/fixture.hpp"
#include "worker/agent/chain_guard.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

using namespace worker::agent;        // NOLINT: the room under test
using namespace worker::agent::test;  // NOLINT
using ledger::eth::UnitKind;

namespace {

wire::BuyerVoucher voucher_over(const World& world, const LeaseBook& book, std::uint64_t sequence) {
    ledger::log::MerkleTree tree;
    wire::BuyerVoucher message;
    for (const StoredReceipt& stored : book.receipts_after(0)) {
        if (stored.receipt.sequence > sequence) break;
        const Hash32 hash = ledger::eth::struct_hash(stored.receipt);
        tree.append_data(ledger::base::ByteView(hash.data(), Hash32::kSize));
        message.voucher.cumulative_units = stored.receipt.cumulative_units;
        message.voucher.cumulative_amount_atoms = stored.receipt.cumulative_amount_atoms;
    }
    message.voucher.lease = book.terms().lease;
    message.voucher.sequence = sequence;
    message.voucher.receipts_root = tree.root();
    message.buyer_signature =
        world.delegate.sign(ledger::eth::digest(world.domain, message.voucher));
    return message;
}

}  // namespace

TEST_CASE("agent: a market on another chain is fatal") {
    World world;
    const auto agent = world.make_agent();
    wire::Welcome welcome = world.welcome();
    welcome.chain_id = 1;
    tell(*agent, welcome);
    REQUIRE(agent->fatal().has_value());
    CHECK(agent->fatal()->code() == ErrorCode::chain_mismatch);
}

TEST_CASE("agent: no work before the market said who it is") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.assign());
    CHECK(agent->active_sessions() == 0);
}

TEST_CASE("agent: a lease for another worker is refused") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    wire::Assign assign = world.assign();
    assign.parties.worker = key_of(9).address();
    tell(*agent, assign);
    const auto failed = world.ear.wait_for<wire::WorkFailed>(1);
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].code == "invalid_field");
    CHECK(agent->active_sessions() == 0);
}

TEST_CASE("agent: a lease whose id does not follow from its orders is refused") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    wire::Assign assign = world.assign();
    assign.lease = hash_of("another");
    tell(*agent, assign);
    CHECK(world.ear.wait_for<wire::WorkFailed>(1).size() == 1);
}

TEST_CASE("agent: a lease without its lock on chain is refused and never started") {
    World world;
    world.guard.answer(fail(ErrorCode::lease_closed, "the chain knows no such lease"));
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    const auto failed = world.ear.wait_for<wire::WorkFailed>(1);
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].code == "lease_closed");
    CHECK(world.ear.all<wire::Started>().empty());
    CHECK(world.blobs.fetched().empty());
}

TEST_CASE("agent: a lease whose receipts are gone here is refused") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    wire::Assign assign = world.assign();
    assign.receipts_sequence = 2;
    tell(*agent, assign);
    const auto failed = world.ear.wait_for<wire::WorkFailed>(1);
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].code == "worker_lost");
}

TEST_CASE("agent: while draining new leases are refused") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    agent->drain(true);
    tell(*agent, world.assign());
    const auto failed = world.ear.wait_for<wire::WorkFailed>(1);
    REQUIRE(failed.size() == 1);
    CHECK(failed[0].code == "no_capacity");
}

TEST_CASE("agent: training gives one receipt a segment, then says that it is done") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    CHECK(world.ear.all<wire::Started>().size() == 1);
    const auto receipts = world.ear.all<wire::ReceiptMessage>();
    REQUIRE(receipts.size() == 4);
    for (std::size_t i = 0; i < receipts.size(); ++i) {
        const auto& receipt = receipts[i].receipt.receipt;
        CHECK(receipt.sequence == i + 1);
        CHECK(receipt.cumulative_units == 25 * (i + 1));
        CHECK(receipt.cumulative_amount_atoms == 25'000 * (i + 1));
        CHECK(receipts[i].checkpoint == receipt.response_hash);
        CHECK(ledger::crypto::verify(ledger::eth::digest(world.domain, receipt),
                                     receipts[i].receipt.signature, world.worker.address())
                  .has_value());
        if (i > 0)
            CHECK(receipt.previous == ledger::eth::struct_hash(receipts[i - 1].receipt.receipt));
    }
}

TEST_CASE("agent: the same assignment twice runs the job once") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    tell(*agent, world.assign());
    REQUIRE(world.ear.wait_for<wire::WorkFinished>(1).size() >= 1);
    tell(*agent, world.assign());
    REQUIRE(world.ear.wait_for<wire::WorkFinished>(2).size() >= 2);
    const auto book = world.store.find(world.assign().lease);
    REQUIRE(book);
    CHECK(book->sequence() == 4);
    CHECK(agent->active_sessions() == 0);
}

TEST_CASE("agent: receipts without acknowledgement are sent again after a reconnect") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    tell(*agent, wire::Ack{world.assign().lease, 1});
    world.ear.forget();
    agent->on_open();
    REQUIRE(world.ear.all<wire::Hello>().size() == 1);
    CHECK(world.ear.all<wire::Hello>()[0].leases.size() == 1);
    wire::Assign again = world.assign();
    again.receipts_sequence = 2;
    tell(*agent, world.welcome());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    CHECK(world.ear.all<wire::ReceiptMessage>().size() == 3);  // 2, 3 and 4
    world.ear.forget();
    tell(*agent, world.welcome());
    tell(*agent, again);
    REQUIRE(world.ear.wait_for<wire::WorkFinished>(2).size() == 2);
    const auto receipts = world.ear.all<wire::ReceiptMessage>();
    REQUIRE(receipts.size() == 5);  // 2, 3, 4, then 3 and 4
    CHECK(receipts.back().receipt.receipt.sequence == 4);
}

TEST_CASE("agent: a restarted worker goes on from its last receipt") {
    World world;
    world.executor.fail_next_at(75, Error(ErrorCode::out_of_memory, "killed"));
    {
        const auto agent = world.make_agent();
        tell(*agent, world.welcome());
        tell(*agent, world.assign());
        REQUIRE(world.ear.wait_for<wire::ReceiptMessage>(2).size() == 2);
        REQUIRE(world.ear.wait_for<wire::WorkFailed>(1).size() == 1);
    }
    // As after kill -9: the outcome never reached the disk.
    const auto folder =
        world.folder.path() / "leases" / ledger::base::to_hex(world.assign().lease).substr(2);
    std::filesystem::remove(folder / "outcome");
    LeaseStore store(world.folder.path() / "leases");
    std::vector<std::string> damaged;
    REQUIRE(store.open(damaged).has_value());
    CHECK(damaged.empty());
    world.ear.forget();
    Identity identity;
    identity.worker = world.worker.address();
    identity.provider = world.provider;
    Agent agent(world.context(), identity, store);
    tell(agent, world.welcome());
    wire::Assign again = world.assign();
    again.receipts_sequence = 2;
    again.start_step = 50;  // the market's view moved on; the lease began at 0
    tell(agent, again);
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    const auto book = store.find(again.lease);
    REQUIRE(book);
    const auto last = book->last_receipt();
    REQUIRE(last.has_value());
    CHECK(last->receipt.cumulative_units == 100);
    // It fetched the checkpoint of the second receipt.
    const auto before = book->receipts_after(1).front().receipt.response_hash;
    const auto fetched = world.blobs.fetched();
    CHECK(std::find(fetched.begin(), fetched.end(), before) != fetched.end());
}

TEST_CASE("agent: an upload that fails for a while delays the receipt, not the job") {
    World world;
    world.blobs.fail_next(1);
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(world.ear.wait_for<wire::Started>(1).size() == 1);
    for (int i = 0; i < 100 && world.ear.all<wire::WorkFinished>().empty(); ++i) {
        world.clock.now_ += 10'000;
        agent->tick();
        (void)world.ear.wait_for<wire::Metrics>(4);
    }
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    CHECK(world.store.find(world.assign().lease)->sequence() == 4);
}

TEST_CASE("agent: work stops at two unpaid periods and goes on when a voucher comes") {
    World world;
    world.payment.period_atoms = 20'000;  // a segment is 25,000
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(world.ear.wait_for<wire::ReceiptMessage>(2).size() >= 2);
    const auto book = world.store.find(world.assign().lease);
    REQUIRE(book);
    for (std::uint64_t sequence = 2; sequence <= 4; ++sequence) {
        REQUIRE(world.ear.wait_for<wire::ReceiptMessage>(sequence).size() >= sequence);
        tell(*agent, voucher_over(world, *book, sequence));
    }
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    CHECK(world.ear.all<wire::WorkerVoucher>().size() == 3);
    CHECK(book->unpaid_atoms() == 0);
}

TEST_CASE("agent: a cancelled lease stops and stays stopped") {
    World world;
    world.payment.period_atoms = 1;  // holds the job soon after its first segment
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    wire::Assign assign = world.assign();
    assign.spec = train_spec(5000, 1);
    assign.max_units = 5000;
    tell(*agent, assign);
    REQUIRE(world.ear.wait_for<wire::ReceiptMessage>(1).size() >= 1);
    tell(*agent, wire::CancelWork{world.assign().lease, "buyer_cancelled"});
    const auto book = world.store.find(world.assign().lease);
    REQUIRE(book);
    agent->stop();
    CHECK(book->outcome() == Outcome::kCancelled);
}

TEST_CASE("agent: a voucher with other totals is not signed") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    tell(*agent, world.assign());
    REQUIRE(!world.ear.wait_for<wire::WorkFinished>(1).empty());
    const auto book = world.store.find(world.assign().lease);
    wire::BuyerVoucher voucher = voucher_over(world, *book, 4);
    voucher.voucher.cumulative_amount_atoms -= 1;
    voucher.buyer_signature =
        world.delegate.sign(ledger::eth::digest(world.domain, voucher.voucher));
    tell(*agent, voucher);
    CHECK(world.ear.all<wire::WorkerVoucher>().empty());
    tell(*agent, voucher_over(world, *book, 4));
    CHECK(world.ear.all<wire::WorkerVoucher>().size() == 1);
}

TEST_CASE("agent: a served completion gives one receipt on each lease") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    const wire::Assign input = world.assign(UnitKind::kInputToken);
    const wire::Assign output = world.assign(UnitKind::kOutputToken);
    tell(*agent, input);
    tell(*agent, output);
    REQUIRE(!world.ear.wait_for<wire::Serving>(1).empty());
    CHECK(world.ear.all<wire::Serving>()[0].lease == output.lease);
    wire::Infer infer;
    infer.request = 7;
    infer.input_lease = input.lease;
    infer.output_lease = output.lease;
    infer.prompt = "Call me";
    infer.sampling.max_tokens = 16;
    tell(*agent, infer);
    const auto done = world.ear.wait_for<wire::CompletionDone>(1);
    REQUIRE(done.size() == 1);
    REQUIRE(done[0].receipts.size() == 2);
    CHECK(done[0].receipts[0].receipt.lease == input.lease);
    CHECK(done[0].receipts[0].receipt.cumulative_units == done[0].prompt_tokens);
    CHECK(done[0].receipts[1].receipt.lease == output.lease);
    CHECK(done[0].receipts[1].receipt.cumulative_units == done[0].completion_tokens);
    CHECK(done[0].receipts[0].receipt.request_hash == salted_hash(input.salt, "Call me"));
}

TEST_CASE("agent: choices pay for one prompt and all their tokens; embeddings for input alone") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    const wire::Assign input = world.assign(UnitKind::kInputToken);
    const wire::Assign output = world.assign(UnitKind::kOutputToken);
    tell(*agent, input);
    tell(*agent, output);
    REQUIRE(!world.ear.wait_for<wire::Serving>(1).empty());
    wire::Infer infer;
    infer.request = 7;
    infer.input_lease = input.lease;
    infer.output_lease = output.lease;
    infer.prompt = "Call me";
    infer.sampling.max_tokens = 5;
    infer.sampling.choices = 3;
    tell(*agent, infer);
    auto done = world.ear.wait_for<wire::CompletionDone>(1);
    REQUIRE(done.size() == 1);
    CHECK(done[0].prompt_tokens == 7);
    CHECK(done[0].completion_tokens == 15);
    CHECK(done[0].finish_reasons == std::vector<std::string>(3, "length"));
    REQUIRE(done[0].receipts.size() == 2);
    CHECK(done[0].receipts[0].receipt.cumulative_units == 7);
    CHECK(done[0].receipts[1].receipt.cumulative_units == 15);
    CHECK(done[0].receipts[1].receipt.response_hash ==
          salted_hash(output.salt, "5:Call 5:Call 5:Call "));
    std::map<std::uint64_t, std::string> texts;
    for (const wire::Token& token : world.ear.all<wire::Token>())
        texts[token.choice] += token.text;
    CHECK(texts == std::map<std::uint64_t, std::string>{{0, "Call "}, {1, "Call "}, {2, "Call "}});
    // Together the choices may pass what is locked: 100 tokens, of which 15 are spent.
    infer.request = 8;
    infer.sampling.max_tokens = 29;
    tell(*agent, infer);
    REQUIRE(world.ear.wait_for<wire::CompletionRefused>(1).size() == 1);
    CHECK(world.ear.all<wire::CompletionRefused>()[0].code == "voucher_above_lock");

    // Vectors longer than the model's: refused, and nothing of it is billed.
    tell(*agent, wire::Embed{10, input.lease, output.lease, R"(["ab","c"])", 3});
    CHECK(world.ear.wait_for<wire::CompletionRefused>(2).at(1).code == "out_of_range");
    tell(*agent, wire::Embed{9, input.lease, output.lease, R"(["ab","c"])", 2});
    done = world.ear.wait_for<wire::CompletionDone>(2);
    REQUIRE(done.size() == 2);
    CHECK(done[1].prompt_tokens == 3);
    CHECK(done[1].finish_reasons.empty());
    REQUIRE(done[1].receipts.size() == 1);
    CHECK(done[1].receipts[0].receipt.lease == input.lease);
    CHECK(done[1].receipts[0].receipt.cumulative_units == 10);
    const auto vectors = world.ear.all<wire::Embedding>();
    REQUIRE(vectors.size() == 2);
    CHECK(vectors[0].vector == "AAAAQAAAgD8=");  // 2, 1
    CHECK(vectors[1].index == 1);
}

TEST_CASE("agent: a folder is served from links beside the job's folder, under the hash of files") {
    World world;
    const std::string hash = ledger::base::to_hex(hash_of("file"));
    std::ofstream(world.folder.path() / "blobs" / hash.substr(2)) << "file";
    const std::string files = fmt::format(
        R"({{"config.json":"{0}","model.safetensors":"{0}","tokenizer.json":"{0}"}})", hash);
    const auto assign = [&](UnitKind kind) {
        wire::Assign out = world.assign(kind);
        out.max_units = 5000;
        out.spec = R"({"files":)" + files +
                   R"(,"kind":"infer.serve","name":"tiny","version":1,"weights_format":"int8"})";
        return out;
    };
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    const wire::Assign input = assign(UnitKind::kInputToken);
    const wire::Assign output = assign(UnitKind::kOutputToken);
    tell(*agent, input);
    tell(*agent, output);
    REQUIRE(!world.ear.wait_for<wire::Serving>(1).empty());
    std::filesystem::path folder;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(world.folder.path()))
        if (entry.path().filename() == "config.json") folder = entry.path().parent_path();
    REQUIRE(folder.extension() == ".model");
    CHECK(std::filesystem::hard_link_count(folder / "tokenizer.json") == 4);
    CHECK_FALSE(std::filesystem::is_symlink(folder / "tokenizer.json"));
    wire::Infer infer;
    infer.request = 7;
    infer.input_lease = input.lease;
    infer.output_lease = output.lease;
    infer.messages = R"([{"content":"Call me","role":"user"}])";
    infer.sampling.temperature.clear();
    infer.sampling.max_tokens = 5;
    tell(*agent, infer);
    const auto done = world.ear.wait_for<wire::CompletionDone>(1);
    REQUIRE(done.size() == 1);
    REQUIRE(done[0].receipts.size() == 2);
    CHECK(done[0].receipts[0].receipt.model_hash == hash_of(files));
    CHECK(done[0].receipts[0].receipt.request_hash == salted_hash(input.salt, infer.messages));
    // A template may make 1024 tokens more of the messages, and that has to be locked.
    infer.request = 8;
    infer.messages = std::string(4000, 'x');
    tell(*agent, infer);
    REQUIRE(world.ear.wait_for<wire::CompletionRefused>(1).size() == 1);
    CHECK(world.ear.all<wire::CompletionRefused>()[0].code == "voucher_above_lock");
    tell(*agent, wire::CancelWork{output.lease, "buyer_cancelled"});
    agent->stop();
    CHECK_FALSE(std::filesystem::exists(folder));
}

/// Two leases of a model of its own, `number`.
std::pair<wire::Assign, wire::Assign> assign_model(const World& world, int number) {
    const auto assign = [&](UnitKind kind) {
        wire::Assign out = world.assign(kind);
        out.job = *marketplace::domain::JobId::parse(fmt::format("job_{:032x}", number));
        out.bid_hash = hash_of(fmt::format("bid {}", number));
        out.lease = ledger::settlement::lease_id({out.ask_hash, out.bid_hash, 0});
        return out;
    };
    return {assign(UnitKind::kInputToken), assign(UnitKind::kOutputToken)};
}

wire::Infer ask_model(const std::pair<wire::Assign, wire::Assign>& model, std::uint64_t request) {
    wire::Infer infer;
    infer.request = request;
    infer.input_lease = model.first.lease;
    infer.output_lease = model.second.lease;
    infer.prompt = "Call me";
    infer.sampling.max_tokens = 16;
    return infer;
}

/// Ticks until `done`, for at most 20 seconds.
template <typename Done>
bool tick_until(Agent& agent, Done done) {
    for (int i = 0; i < 2000; ++i) {
        if (done()) return true;
        agent.tick();
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

TEST_CASE("agent: models that do not fit together are loaded in turn and bill as ever") {
    World world;
    ModelMemory memory(1);  // any need is all of it
    const auto agent = world.make_agent(memory);
    tell(*agent, world.welcome());
    const auto first = assign_model(world, 1);
    const auto second = assign_model(world, 2);
    using State = ModelMemory::State;
    const auto state = [&](const auto& model) { return memory.state(model.second.lease); };
    tell(*agent, first.first);
    tell(*agent, first.second);
    REQUIRE(tick_until(*agent, [&] { return state(first) == State::kIdle; }));
    tell(*agent, second.first);
    tell(*agent, second.second);
    REQUIRE(world.ear.wait_for<wire::Serving>(2).size() == 2);
    CHECK(state(first) == State::kUnloaded);
    // Each answers when asked, and the market hears of no change.
    for (std::uint64_t request = 1; request <= 6; ++request) {
        tell(*agent, ask_model(request % 2 == 1 ? first : second, request));
        REQUIRE(world.ear.wait_for<wire::CompletionDone>(request).size() == request);
    }
    const auto done = world.ear.all<wire::CompletionDone>();
    for (const wire::CompletionDone& one : done) {
        CHECK(one.prompt_tokens == 7);
        REQUIRE(one.receipts.size() == 2);
        CHECK(one.receipts[0].receipt.cumulative_units == 7 * ((one.request + 1) / 2));
    }
    CHECK(world.ear.all<wire::Serving>().size() == 2);
    CHECK(world.ear.all<wire::Started>().size() == 4);
    CHECK(world.ear.all<wire::WorkFailed>().empty());
    // A reconnect says that both serve.
    world.ear.forget();
    agent->on_open();
    REQUIRE(world.ear.all<wire::Hello>().size() == 1);
    CHECK(world.ear.all<wire::Hello>()[0].serving.size() == 2);
    tell(*agent, wire::CancelWork{first.second.lease, "buyer_cancelled"});
    CHECK(tick_until(*agent, [&] { return memory.status().size() == 1; }));
    agent->stop();
    CHECK(memory.status().empty());
}

TEST_CASE("agent: a request is refused when its model gets no room in time, or is given up") {
    World world;
    ModelMemory memory(1);
    const auto agent = world.make_agent(memory);
    tell(*agent, world.welcome());
    const auto model = assign_model(world, 1);
    tell(*agent, model.first);
    tell(*agent, model.second);
    REQUIRE(!world.ear.wait_for<wire::Serving>(1).empty());
    using State = ModelMemory::State;
    REQUIRE(tick_until(*agent, [&] { return memory.state(model.second.lease) == State::kIdle; }));
    // Another takes all the room and stays in use.
    const Hash32 other = hash_of("other");
    memory.want(other, "other", 1, {[] {}, [] {}});
    REQUIRE(tick_until(*agent, [&] { return memory.state(other) == State::kInUse; }));
    tell(*agent, ask_model(model, 1));
    tell(*agent, ask_model(model, 2));
    REQUIRE(
        tick_until(*agent, [&] { return memory.state(model.second.lease) == State::kWaiting; }));
    tell(*agent, wire::AbortCompletion{1});
    const auto aborted = world.ear.wait_for<wire::CompletionDone>(1);
    REQUIRE(aborted.size() == 1);
    CHECK(aborted[0].receipts.empty());
    CHECK(aborted[0].finish_reasons == std::vector<std::string>{"cancelled"});
    CHECK(world.ear.all<wire::CompletionRefused>().empty());
    world.clock.now_ += 45'000;
    agent->tick();
    const auto refused = world.ear.wait_for<wire::CompletionRefused>(1);
    REQUIRE(refused.size() == 1);
    CHECK(refused[0].request == 2);
    CHECK(refused[0].code == "no_capacity");
    CHECK(refused[0].detail.find("models in use hold") != std::string::npos);
    // Nobody waits any more, so the model does not either; the lease goes on.
    CHECK(tick_until(*agent, [&] { return memory.state(model.second.lease) == State::kUnloaded; }));
    memory.forget(other);
    tell(*agent, ask_model(model, 3));
    REQUIRE(world.ear.wait_for<wire::CompletionDone>(2).size() == 2);
    CHECK(world.ear.all<wire::WorkFailed>().empty());
}

TEST_CASE("agent: a lease whose model never gets room fails, and its worker says why") {
    World world;
    ModelMemory memory(1);
    memory.want(hash_of("other"), "other", 1, {[] {}, [] {}});
    const auto agent = world.make_agent(memory);
    tell(*agent, world.welcome());
    const auto model = assign_model(world, 1);
    tell(*agent, model.first);
    tell(*agent, model.second);
    REQUIRE(tick_until(
        *agent, [&] { return memory.state(model.second.lease) == ModelMemory::State::kWaiting; }));
    world.clock.now_ += 120'000;
    agent->tick();
    const auto failed = world.ear.wait_for<wire::WorkFailed>(2);
    REQUIRE(failed.size() == 2);
    CHECK(failed[0].code == "no_capacity");
    CHECK(world.ear.all<wire::Serving>().empty());
}

TEST_CASE("agent: a completion that may pass the lease's tokens is refused") {
    World world;
    const auto agent = world.make_agent();
    tell(*agent, world.welcome());
    const wire::Assign input = world.assign(UnitKind::kInputToken);
    const wire::Assign output = world.assign(UnitKind::kOutputToken);
    tell(*agent, input);
    tell(*agent, output);
    REQUIRE(!world.ear.wait_for<wire::Serving>(1).empty());
    wire::Infer infer;
    infer.request = 8;
    infer.input_lease = input.lease;
    infer.output_lease = output.lease;
    infer.prompt = "Call me";
    infer.sampling.max_tokens = 101;
    tell(*agent, infer);
    const auto refused = world.ear.wait_for<wire::CompletionRefused>(1);
    REQUIRE(refused.size() == 1);
    CHECK(refused[0].code == "voucher_above_lock");
}

TEST_CASE("chain_guard: refuses what the chain does not hold") {
    World world;
    const wire::Assign assign = world.assign();
    LeaseTerms terms;
    terms.unit_kind = assign.unit_kind;
    terms.price_atoms = 1000;
    terms.max_units = 100;
    ledger::settlement::LeaseView view;
    view.state = ledger::settlement::LeaseState::kOpen;
    view.locked_atoms = 100'000;
    view.max_units = 100;
    view.expiry_s = 2000;
    CHECK(check_lease(terms, view, 1'000'000).has_value());
    const auto refused = [&](auto change) {
        auto changed = view;
        change(changed);
        const auto checked = check_lease(terms, changed, 1'000'000);
        return !checked && checked.error().code() == ErrorCode::lease_closed;
    };
    CHECK(refused([](auto& v) { v.state = ledger::settlement::LeaseState::kNone; }));
    CHECK(refused([](auto& v) { v.state = ledger::settlement::LeaseState::kClosing; }));
    CHECK(refused([](auto& v) { v.max_units = 99; }));
    CHECK(refused([](auto& v) { v.locked_atoms = 99'999; }));
    CHECK(refused([](auto& v) { v.locked_atoms = 0; }));
    CHECK(refused([](auto& v) { v.expiry_s = 1000; }));
}

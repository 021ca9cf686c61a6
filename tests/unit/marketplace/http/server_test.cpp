// SPDX-License-Identifier: Apache-2.0
#include "marketplace/http/post_batch.hpp"
#include "tests/unit/marketplace/http/http_fixture.hpp"

#include <atomic>
#include <future>
#include <mutex>

using namespace http_test;

TEST_CASE("server: a port in use and a bad address are refused by name") {
    RunningServer first;
    ServerOptions options;
    options.port = first.server.port();
    Server second(options, Router());
    const auto started = second.start();
    REQUIRE_FALSE(started);
    CHECK(started.error().code() == ledger::base::ErrorCode::port_in_use);
    options.address = "not-an-address";
    Server third(options, Router());
    CHECK(third.start().error().code() == ledger::base::ErrorCode::config_invalid);
}

TEST_CASE("server: answers, keeps the connection, counts the bytes") {
    RunningServer running;
    auto client = running.client();
    for (int i = 0; i < 3; ++i) {
        const auto answer = client.request("GET", "/hello");
        CHECK(answer.status == 200);
        CHECK(answer.body == "hello");
        CHECK(answer.header("content-length") == "5");
        CHECK_FALSE(answer.header("x-request-id").empty());
        CHECK_FALSE(answer.header("date").empty());
    }
    CHECK(client.request("POST", "/echo", "some body").body == "some body");
    const auto head = client.request("HEAD", "/hello");
    CHECK(head.status == 200);
    CHECK(head.header("content-length") == "5");
    CHECK(client.request("GET", "/hello", "", "x-request-id: my-id_1\r\n").header("x-request-id") ==
          "my-id_1");
    CHECK(client.request("GET", "/hello", "", "x-request-id: a b\r\n").header("x-request-id") !=
          "a b");
    CHECK(client.request("GET", "http://localhost/hello").body == "hello");
}

TEST_CASE("server: two requests sent at once are answered in order") {
    RunningServer running;
    auto client = running.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        "GET /later HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(client.read_answer().body == "one");
    CHECK(client.read_answer().body == "later");
    CHECK(client.read_answer().body == "hello");
}

TEST_CASE("server: unknown path, wrong method, options") {
    RunningServer running;
    auto client = running.client();
    CHECK(client.request("GET", "/nothing").status == 404);
    const auto wrong = client.request("DELETE", "/hello");
    CHECK(wrong.status == 405);
    CHECK(wrong.header("allow") == "GET, HEAD");
    CHECK(client.request("OPTIONS", "/echo").status == 204);
}

TEST_CASE("server: a handler that throws or forgets to answer gives 500 without its text") {
    RunningServer running;
    auto client = running.client();
    const auto thrown = client.request("GET", "/throw");
    CHECK(thrown.status == 500);
    CHECK(thrown.body.find("secret") == std::string::npos);
    CHECK(client.request("GET", "/never").status == 500);
    CHECK(client.request("GET", "/hello").status == 200);
}

TEST_CASE(
    "server: an answer made later is made on the connection's thread, and its failure is 500") {
    Router router;
    std::promise<std::pair<std::thread::id, Reply>> handled;
    std::promise<std::thread::id> made;
    router.add(Method::kGet, "/later", [&](const RequestPtr&, Reply reply) {
        handled.set_value({std::this_thread::get_id(), std::move(reply)});
    });
    router.add(Method::kGet, "/throw", [](const RequestPtr&, Reply reply) {
        reply.later([]() -> Response { throw std::runtime_error("secret"); });
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    client.send("GET /later HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto [handler_thread, reply] = handled.get_future().get();
    reply.later([&made] {
        made.set_value(std::this_thread::get_id());
        return Response::text("made");
    });
    reply(Response::text("second"));
    CHECK(client.read_answer().body == "made");
    CHECK(made.get_future().get() == handler_thread);
    const auto thrown = client.request("GET", "/throw");
    CHECK(thrown.status == 500);
    CHECK(thrown.body.find("secret") == std::string::npos);
}

TEST_CASE("server: answers of a batch leave together, when it ends") {
    Router router;
    std::mutex mutex;
    std::vector<Reply> kept;
    std::promise<void> both;
    router.add(Method::kGet, "/kept", [&](const RequestPtr&, Reply reply) {
        const std::lock_guard lock(mutex);
        kept.push_back(std::move(reply));
        if (kept.size() == 2) both.set_value();
    });
    RunningServer running(std::move(router));
    auto first = running.client();
    auto second = running.client();
    for (auto* client : {&first, &second})
        client->send("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
    both.get_future().wait();
    {
        const marketplace::http::PostBatch together;
        for (const Reply& reply : kept)
            reply(Response::text("now"));
        CHECK_FALSE(first.fill(0));
        CHECK_FALSE(second.fill(0));
    }
    CHECK(first.read_answer().body == "now");
    CHECK(second.read_answer().body == "now");
}

TEST_CASE("server: a handler that takes too long gives 504 and its late answer is dropped") {
    Router router;
    std::mutex mutex;
    std::vector<Reply> kept;
    router.add(Method::kGet, "/slow", [&](const RequestPtr&, Reply reply) {
        const std::lock_guard lock(mutex);
        kept.push_back(std::move(reply));
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    CHECK(client.request("GET", "/slow").status == 504);
    const std::lock_guard lock(mutex);
    for (const auto& reply : kept)
        reply(Response::text("late"));
    CHECK(client.closed_within(milliseconds(15'000)));
    CHECK(client.buffer().empty());
    kept.clear();
}

TEST_CASE("server: large bodies both ways") {
    RunningServer running;
    auto client = running.client();
    CHECK(client.request("GET", "/big").body.size() == 3'000'000);
    CHECK(client.request("PUT", "/upload", std::string(5'000'000, 'u')).body == "5000000");
    const std::string body(200'000, 'e');
    CHECK(client.request("POST", "/echo", body).body == body);
    const auto poisoned = client.request("PUT", "/upload", "poison");
    CHECK(poisoned.status == 400);
}

TEST_CASE("server: expect 100-continue is answered before the body") {
    RunningServer running;
    auto client = running.client();
    client.send(
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    CHECK(client.read_answer().status == 100);
    client.send("ok");
    CHECK(client.read_answer().body == "ok");
    client.send(
        "PUT /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n"
        "Expect: 100-continue\r\n\r\n");
    CHECK(client.read_answer().status == 413);
}

TEST_CASE("server: filters run before and after") {
    Router router = test_router();
    router.before([](const Request& request) -> std::optional<Response> {
        if (request.header("x-block")) return Response::empty(429);
        return std::nullopt;
    });
    router.after([](const Request& request, Response& response) {
        response.header("x-route", request.route);
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    CHECK(client.request("GET", "/hello", "", "x-block: 1\r\n").status == 429);
    const auto answer = client.request("GET", "/hello");
    CHECK(answer.status == 200);
    CHECK(answer.header("x-route") == "/hello");
}

TEST_CASE("server: a header value cannot begin a new line") {
    Router router;
    router.get("/split", [](const Request&) {
        Response response = Response::text("x");
        response.header("x-name", "a\r\nx-evil: 1");
        return response;
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    const auto answer = client.request("GET", "/split");
    CHECK(answer.status == 200);
    CHECK(answer.header("x-evil").empty());
}

TEST_CASE("server: files with ranges and entity tags") {
    const auto path = std::filesystem::temp_directory_path() /
                      ("millrace_http_test_" + std::to_string(::getpid()));
    std::ofstream(path, std::ios::binary) << std::string(200'000, 'a') << "0123456789";
    Router router;
    router.get("/file", [&](const Request& request) {
        auto response = Response::download(path, request, "application/octet-stream", "\"tag\"");
        return response ? std::move(*response) : Response::empty(404);
    });
    router.get("/gone", [&](const Request& request) {
        auto response = Response::download(path / "no", request, "text/plain", "");
        return response ? std::move(*response) : Response::empty(404);
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    CHECK(client.request("GET", "/file").body.size() == 200'010);
    const auto part = client.request("GET", "/file", "", "Range: bytes=200000-200003\r\n");
    CHECK(part.status == 206);
    CHECK(part.body == "0123");
    CHECK(part.header("content-range") == "bytes 200000-200003/200010");
    CHECK(client.request("GET", "/file", "", "Range: bytes=-2\r\n").body == "89");
    CHECK(client.request("GET", "/file", "", "Range: bytes=300000-\r\n").status == 416);
    CHECK(client.request("GET", "/file", "", "If-None-Match: \"tag\"\r\n").status == 304);
    const auto other =
        client.request("GET", "/file", "", "Range: bytes=0-1\r\nIf-Range: \"other\"\r\n");
    CHECK(other.status == 200);
    const auto head = client.request("HEAD", "/file");
    CHECK(head.header("content-length") == "200010");
    CHECK(client.request("GET", "/gone").status == 404);
    std::filesystem::remove(path);
}

TEST_CASE("server: streams arrive as they are written and end") {
    std::atomic<int> gone{0};
    Router router;
    router.get("/stream", [&](const Request&) {
        auto stream = std::make_shared<StreamBody>();
        stream->on_start = [](StreamWriterPtr writer) {
            std::thread([writer = std::move(writer)] {
                for (int i = 0; i < 100; ++i)
                    writer->write("part " + std::to_string(i) + "\n");
            }).detach();
        };
        stream->on_gone = [&gone] { ++gone; };
        Response response = Response::text("");
        response.stream = std::move(stream);
        return response;
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    const auto answer = client.request("GET", "/stream");
    CHECK(answer.complete);
    CHECK(answer.body.starts_with("part 0\npart 1\n"));
    CHECK(answer.body.ends_with("part 99\n"));
    CHECK(client.request("HEAD", "/stream").status == 200);
    client.send("GET /stream HTTP/1.0\r\nHost: a\r\n\r\n");
    const auto old = client.read_answer();
    CHECK(old.header("transfer-encoding").empty());
    CHECK(old.body.ends_with("part 99\n"));
    CHECK(gone == 0);
}

TEST_CASE("server: an event stream beats, polls, and notices a client that leaves") {
    std::atomic<bool> gone{false};
    std::atomic<int> ticks{0};
    Router router;
    router.get("/events", [&](const Request&) {
        auto stream = std::make_shared<StreamBody>();
        stream->on_start = [](const StreamWriterPtr& writer) { writer->write("data: first\n\n"); };
        stream->on_tick = [&ticks](StreamWriter& writer) {
            if (++ticks == 1) writer.write("data: polled\n\n");
        };
        stream->on_gone = [&gone] { gone = true; };
        return Response::events(std::move(stream));
    });
    RunningServer running(std::move(router));
    {
        auto client = running.client();
        client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK(client.read_until("data: first\n\n"));
        CHECK(client.read_until("data: polled\n\n"));
        CHECK(client.read_until(": keep-alive\n\n"));
    }
    const auto until = std::chrono::steady_clock::now() + milliseconds(15'000);
    while (!gone && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    CHECK(gone);
}

TEST_CASE("server: a producer faster than its client is stopped at the limit") {
    std::atomic<std::size_t> written{0};
    std::atomic<bool> refused{false};
    Router router;
    router.get("/flood", [&](const Request&) {
        auto stream = std::make_shared<StreamBody>();
        stream->on_start = [&](StreamWriterPtr writer) {
            std::thread([&, writer = std::move(writer)] {
                const std::string piece(100'000, 'f');
                while (writer->write(piece))
                    written += piece.size();
                refused = true;
            }).detach();
        };
        Response response = Response::text("");
        response.stream = std::move(stream);
        return response;
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto until = std::chrono::steady_clock::now() + milliseconds(15'000);
    while (!refused && std::chrono::steady_clock::now() < until)
        std::this_thread::yield();
    CHECK(refused);
    CHECK(written < 64'000'000);
}

TEST_CASE("server: stop lets a request finish and then refuses new ones") {
    std::mutex mutex;
    std::optional<Reply> kept;
    std::atomic<bool> has{false};
    Router router;
    router.add(Method::kGet, "/slow", [&](const RequestPtr&, Reply reply) {
        const std::lock_guard lock(mutex);
        kept = std::move(reply);
        has = true;
    });
    RunningServer running(std::move(router));
    auto client = running.client();
    auto idle = running.client();
    client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    while (!has)
        std::this_thread::yield();
    std::thread stopper([&] { running.server.stop(milliseconds(5000)); });
    CHECK(idle.closed_within(milliseconds(15'000)));
    {
        const std::lock_guard lock(mutex);
        (*kept)(Response::text("done"));
        kept.reset();
    }
    const auto answer = client.read_answer();
    CHECK(answer.body == "done");
    CHECK(answer.header("connection") == "close");
    stopper.join();
    CHECK_FALSE(HttpTestClient(running.server.port()).connected());
}

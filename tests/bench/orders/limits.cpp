// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/orders/limits.hpp"

#include "ledger/base/check.hpp"
#include "ledger/crypto/keccak.hpp"
#include "tests/bench/cpu.hpp"

#include <SQLiteCpp/SQLiteCpp.h>
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nlohmann/json.hpp>
#include <pthread.h>
#include <secp256k1.h>
#include <secp256k1_recovery.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <thread>
#include <unordered_map>

namespace bench {
namespace {

namespace eth = ledger::eth;
using ledger::base::Hash32;

/// CPU seconds of this thread per run of `work`.
template <typename Work>
double cpu_each(std::uint64_t count, Work&& work) {
    const double all = cpu_seconds_of([&] {
        for (std::uint64_t i = 0; i < count; ++i)
            work(i);
    });
    return all / static_cast<double>(count);
}

struct ContextCloser {
    void operator()(secp256k1_context* context) const noexcept {
        secp256k1_context_destroy(context);
    }
};

double time_hash(const LimitInput& in) {
    const Hash32 separator = eth::domain_separator(in.domain);
    return cpu_each(in.samples.size(), [&](std::uint64_t i) {
        const Sample& sample = in.samples[i];
        MR_CHECK(eth::typed_digest(separator, eth::struct_hash(sample.ask)) == sample.digest);
    });
}

double time_recover(const LimitInput& in) {
    const std::unique_ptr<secp256k1_context, ContextCloser> context(
        secp256k1_context_create(SECP256K1_CONTEXT_VERIFY));
    return cpu_each(in.samples.size(), [&](std::uint64_t i) {
        const Sample& sample = in.samples[i];
        const std::uint8_t* bytes = sample.signature.data();
        secp256k1_ecdsa_recoverable_signature signature;
        secp256k1_pubkey signer;
        MR_CHECK(secp256k1_ecdsa_recoverable_signature_parse_compact(context.get(), &signature,
                                                                     bytes, bytes[64] - 27) == 1);
        MR_CHECK(
            secp256k1_ecdsa_recover(context.get(), &signer, &signature, sample.digest.data()) == 1);
        std::array<std::uint8_t, 65> key{};
        std::size_t size = key.size();
        secp256k1_ec_pubkey_serialize(context.get(), key.data(), &size, &signer,
                                      SECP256K1_EC_UNCOMPRESSED);
        const Hash32 hash = ledger::crypto::keccak256(ledger::base::ByteView(key).subspan(1));
        MR_CHECK(std::equal(hash.begin() + 12, hash.end(), sample.ask.provider.begin()));
    });
}

double time_parse(const LimitInput& in) {
    return cpu_each(in.samples.size(), [&](std::uint64_t i) {
        const auto body = nlohmann::json::parse(in.samples[i].body, nullptr, false);
        const auto resource = nlohmann::json::parse(in.samples[i].resource, nullptr, false);
        MR_CHECK(body.is_object() && resource.is_object());
    });
}

double time_row(const LimitInput& in) {
    const auto file = in.folder / "limit.db";
    std::filesystem::remove(file);
    SQLite::Database database(file.string(), SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database.exec("PRAGMA journal_mode=WAL");
    database.exec("PRAGMA synchronous=FULL");
    database.exec(
        "CREATE TABLE journal(sequence INTEGER PRIMARY KEY, record BLOB NOT NULL) STRICT");
    SQLite::Statement insert(database, "INSERT INTO journal VALUES(?, ?)");
    const std::string record(in.record_bytes, 'r');
    const std::uint64_t rows = in.group * 100;
    return cpu_each(rows, [&](std::uint64_t i) {
        if (i % in.group == 0) database.exec("BEGIN");
        insert.reset();
        insert.bind(1, static_cast<std::int64_t>(i));
        insert.bindNoCopy(2, record.data(), static_cast<int>(record.size()));
        insert.exec();
        if (i % in.group == in.group - 1) database.exec("COMMIT");
    });
}

/// Reads `request` bytes and writes a fixed answer, on one thread, until it is told to end.
class EchoServer {
 public:
    EchoServer(std::size_t request_bytes, std::string answer)
        : request_bytes_(request_bytes),
          answer_(std::move(answer)),
          epoll_(::epoll_create1(EPOLL_CLOEXEC)),
          end_(::eventfd(0, EFD_CLOEXEC)),
          listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        MR_CHECK(epoll_ >= 0 && end_ >= 0 && listener_ >= 0);
        MR_CHECK(::listen(listener_, 256) == 0);  // binds to a free port
        sockaddr_in address{};
        socklen_t size = sizeof(address);
        sockaddr raw{};
        MR_CHECK(::getsockname(listener_, &raw, &size) == 0);
        std::copy_n(reinterpret_cast<const char*>(&raw), sizeof(address),
                    reinterpret_cast<char*>(&address));
        port_ = ntohs(address.sin_port);
        watch(listener_);
        watch(end_);
        thread_ = std::thread([this] { run(); });
    }
    ~EchoServer() {
        const std::uint64_t one = 1;
        MR_CHECK(::write(end_, &one, sizeof(one)) == sizeof(one));
        thread_.join();
        for (const auto& [fd, have] : have_)
            ::close(fd);
        ::close(listener_);
        ::close(end_);
        ::close(epoll_);
    }
    EchoServer(const EchoServer&) = delete;
    EchoServer& operator=(const EchoServer&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    /// CPU seconds the server has used.
    [[nodiscard]] double cpu_s() {
        clockid_t clock{};
        MR_CHECK(::pthread_getcpuclockid(thread_.native_handle(), &clock) == 0);
        timespec time{};
        MR_CHECK(::clock_gettime(clock, &time) == 0);
        return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
    }

 private:
    void watch(int fd) const {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        MR_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) == 0);
    }
    void run() {
        std::array<epoll_event, 64> events{};
        for (;;) {
            const int count =
                ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), -1);
            for (int i = 0; i < count; ++i) {
                const int fd = events[static_cast<std::size_t>(i)].data.fd;
                if (fd == end_) return;
                if (fd == listener_) {
                    const int peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
                    const int on = 1;
                    ::setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                    have_[peer] = 0;
                    watch(peer);
                } else {
                    answer(fd);
                }
            }
        }
    }
    void answer(int fd) {
        std::array<char, 16 * 1024> piece{};
        const ssize_t got = ::recv(fd, piece.data(), piece.size(), 0);
        if (got <= 0) {
            ::epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
            return;
        }
        std::size_t& have = have_[fd];
        have += static_cast<std::size_t>(got);
        if (have < request_bytes_) return;
        have = 0;
        MR_CHECK(::send(fd, answer_.data(), answer_.size(), MSG_NOSIGNAL) ==
                 static_cast<ssize_t>(answer_.size()));
    }

    const std::size_t request_bytes_;
    const std::string answer_;
    int epoll_;
    int end_;
    int listener_;
    std::uint16_t port_ = 0;
    std::unordered_map<int, std::size_t> have_;
    std::thread thread_;
};

double time_http(const LimitInput& in) {
    const std::string head =
        fmt::format("HTTP/1.1 201 Created\r\ncontent-length: {:06}\r\n\r\n", in.answer_bytes);
    const std::size_t body = in.answer_bytes - std::min(in.answer_bytes, head.size());
    std::string answer = fmt::format("HTTP/1.1 201 Created\r\ncontent-length: {:06}\r\n\r\n", body);
    answer.append(body, 'a');
    // Requests differ by a few bytes (numbers are decimal): the shortest is enough.
    std::size_t request_bytes = SIZE_MAX;
    for (const std::string& request : in.requests)
        request_bytes = std::min(request_bytes, request.size());
    EchoServer server(request_bytes, std::move(answer));
    LoadOptions load = in.load;
    load.port = server.port();
    const double before = server.cpu_s();
    const LoadResult result = run_load(in.requests, load);
    MR_CHECK(result.failed == 0);
    return (server.cpu_s() - before) / static_cast<double>(result.answered);
}

}  // namespace

Parts measure_parts(const LimitInput& input) {
    Parts out;
    out.hash_s = time_hash(input);
    out.recover_s = time_recover(input);
    out.parse_s = time_parse(input);
    out.row_s = time_row(input);
    out.http_s = time_http(input);
    return out;
}

}  // namespace bench

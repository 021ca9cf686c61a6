// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/server.hpp"
#include "ledger/signer/signer_client.hpp"
#include "ledger/signer/unix_socket.hpp"
#include "tests/unit/ledger/signer/signer_fixture.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <thread>

using namespace tests;  // NOLINT: test file

namespace {

/// A signer that serves its socket on a thread.
struct RunningSigner : SignerFixture {
    explicit RunningSigner(ServerLimits limits = {}) : socket(folder.path / "s.sock") {
        REQUIRE(::pipe(stop) == 0);
        auto server = Server::listen(socket, limits);
        REQUIRE(server);
        thread = std::thread([this, s = std::move(*server)]() mutable {
            static_cast<void>(s.run(*service, stop[0]));
        });
    }
    ~RunningSigner() {
        static_cast<void>(!::write(stop[1], "x", 1));
        thread.join();
        ::close(stop[0]);
        ::close(stop[1]);
    }
    std::filesystem::path socket;
    int stop[2] = {-1, -1};
    std::thread thread;
};

}  // namespace

TEST_CASE("signer_client: nobody there, a path too long, and a silent signer have their codes") {
    const TempFolder folder;
    CHECK(SignerClient(folder.path / "none").addresses().error().code() == ErrorCode::unavailable);
    CHECK(SignerClient(folder.path / std::string(120, 'x')).addresses().error().code() ==
          ErrorCode::config_invalid);
    const auto address = detail::make_address(folder.path / "silent");
    REQUIRE(address);
    const detail::Socket listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener.get(), detail::generic(&*address), sizeof(*address)) == 0);
    REQUIRE(::listen(listener.get(), 4) == 0);
    CHECK(SignerClient(folder.path / "silent", std::chrono::milliseconds(50))
              .addresses()
              .error()
              .code() == ErrorCode::timeout);
}

TEST_CASE("signer: serves its socket to its own user only, one signer at a time") {
    RunningSigner signer;
    struct stat facts {};
    REQUIRE(::stat(signer.socket.c_str(), &facts) == 0);
    CHECK((facts.st_mode & 0777) == 0600);
    CHECK(Server::listen(signer.socket).error().code() == ErrorCode::port_in_use);

    const SignerClient client(signer.socket);
    const auto addresses = client.addresses();
    REQUIRE(addresses);
    CHECK(addresses->size() == 2);
    const SignTransaction wanted = signer.transaction(0);
    REQUIRE(client.sign_transaction(wanted.from, wanted.transaction));
    const SignVoucher voucher = signer.voucher(1, 10);
    REQUIRE(client.sign_voucher(voucher.signer, voucher.domain, voucher.voucher, voucher.origin));
    const SignTreeHead head = signer.head(1, 1, 1);
    REQUIRE(client.sign_tree_head(head.signer, head.domain, head.head));

    SignVoucher other = signer.voucher(1, 11);
    CHECK(client.sign_voucher(other.signer, other.domain, other.voucher, other.origin)
              .error()
              .code() == ErrorCode::already_signed_differently);
    SignTransaction elsewhere = signer.transaction(1);
    elsewhere.transaction.to = address_of(3);
    CHECK(client.sign_transaction(elsewhere.from, elsewhere.transaction).error().code() ==
          ErrorCode::policy_refused);
}

TEST_CASE("signer: idle, endless and empty connections do not hold it up") {
    ServerLimits limits;
    limits.idle_timeout = std::chrono::milliseconds(100);
    limits.connections = 4;
    RunningSigner signer(limits);
    const auto address = detail::make_address(signer.socket).value();
    std::vector<detail::Socket> idle;
    for (int i = 0; i < 3; ++i)
        idle.push_back(std::move(*detail::connect_to(address)));
    const SignerClient client(signer.socket);
    CHECK(client.addresses());
    auto endless = detail::connect_to(address);
    REQUIRE(endless);
    const std::string flood(64 * 1024, 'x');
    std::size_t sent = 0;
    while (sent < 4 * kLineBytes) {
        const ssize_t count = ::send(endless->get(), flood.data(), flood.size(), MSG_NOSIGNAL);
        if (count > 0) {
            sent += static_cast<std::size_t>(count);
        } else if (errno != EAGAIN) {
            break;  // hung up on, as it should
        } else {
            std::this_thread::yield();
        }
    }
    CHECK(sent <= 2 * kLineBytes + 1024 * 1024);
    CHECK(client.addresses());
}

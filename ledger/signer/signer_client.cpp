// SPDX-License-Identifier: Apache-2.0
#include "ledger/signer/signer_client.hpp"

#include "ledger/crypto/secp256k1.hpp"
#include "ledger/signer/protocol.hpp"
#include "ledger/signer/unix_socket.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace ledger::signer {

using base::ErrorCode;
using base::fail;
using base::Result;
using SteadyTime = std::chrono::steady_clock::time_point;

namespace {

/// Waits until the socket is ready or the deadline has passed.
Result<void> wait_for(int descriptor, short events, SteadyTime deadline) {
    while (true) {
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
            deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) return fail(ErrorCode::timeout, "the signer");
        pollfd watched{descriptor, events, 0};
        const int ready = ::poll(&watched, 1, static_cast<int>(left.count()));
        if (ready > 0) return {};
        if (ready < 0 && errno != EINTR) return fail(ErrorCode::unavailable, "the signer");
    }
}

Result<void> send_line(int descriptor, std::string_view line, SteadyTime deadline) {
    while (!line.empty()) {
        const ssize_t count = ::send(descriptor, line.data(), line.size(), MSG_NOSIGNAL);
        if (count > 0) {
            line.remove_prefix(static_cast<std::size_t>(count));
        } else if (errno == EAGAIN) {
            TRY(wait_for(descriptor, POLLOUT, deadline));
        } else if (errno != EINTR) {
            return fail(ErrorCode::unavailable, "the signer hung up");
        }
    }
    return {};
}

Result<std::string> read_line(int descriptor, SteadyTime deadline) {
    std::string line;
    std::array<char, 16 * 1024> piece{};
    while (line.size() <= kLineBytes) {
        TRY(wait_for(descriptor, POLLIN, deadline));
        const ssize_t count = ::recv(descriptor, piece.data(), piece.size(), 0);
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (count <= 0) return fail(ErrorCode::unavailable, "the signer hung up");
        line.append(piece.data(), static_cast<std::size_t>(count));
        if (line.back() == '\n') {
            line.pop_back();
            return line;
        }
    }
    return fail(ErrorCode::too_large, "the signer's answer");
}

Result<base::Signature> checked_signature(const base::Bytes& bytes, const base::Hash32& digest,
                                          const base::Address& signer) {
    TRY_ASSIGN(const base::Signature signature, crypto::parse_signature(bytes));
    TRY(crypto::verify(digest, signature, signer));
    return signature;
}

}  // namespace

SignerClient::SignerClient(std::filesystem::path socket, std::chrono::milliseconds timeout)
    : socket_(std::move(socket)), timeout_(timeout) {}

Result<std::string> SignerClient::ask(const std::string& request) const {
    const SteadyTime deadline = std::chrono::steady_clock::now() + timeout_;
    TRY_ASSIGN(const sockaddr_un address, detail::make_address(socket_));
    const std::optional<detail::Socket> socket = detail::connect_to(address);
    if (!socket)
        return fail(ErrorCode::unavailable,
                    "no signer answers at " + socket_.string() + "; start millrace-signer");
    TRY(send_line(socket->get(), request + "\n", deadline));
    return read_line(socket->get(), deadline);
}

Result<std::vector<base::Address>> SignerClient::addresses() const {
    TRY_ASSIGN(const std::string line, ask(encode_request(ListAddresses{})));
    TRY_ASSIGN(Answer answer, decode_answer(line));
    return std::move(answer.addresses);
}

Result<base::Bytes> SignerClient::sign_transaction(const base::Address& from,
                                                   const eth::Transaction& transaction) const {
    TRY_ASSIGN(const std::string line, ask(encode_request(SignTransaction{from, transaction})));
    TRY_ASSIGN(Answer answer, decode_answer(line));
    const auto decoded = eth::decode_signed(answer.bytes);
    if (!decoded || decoded->sender != from || !(decoded->transaction == transaction))
        return fail(ErrorCode::invalid_signature, "the signer signed something else");
    return std::move(answer.bytes);
}

Result<base::Signature> SignerClient::sign_voucher(const base::Address& delegate,
                                                   const eth::Domain& domain,
                                                   const eth::Voucher& voucher,
                                                   const LeaseOrigin& origin) const {
    TRY_ASSIGN(const std::string line,
               ask(encode_request(SignVoucher{delegate, domain, voucher, origin})));
    TRY_ASSIGN(const Answer answer, decode_answer(line));
    return checked_signature(answer.bytes, eth::digest(domain, voucher), delegate);
}

Result<base::Signature> SignerClient::sign_objection(const base::Address& delegate,
                                                     const eth::Domain& domain,
                                                     const eth::Objection& objection) const {
    TRY_ASSIGN(const std::string line,
               ask(encode_request(SignObjection{delegate, domain, objection})));
    TRY_ASSIGN(const Answer answer, decode_answer(line));
    return checked_signature(answer.bytes, eth::digest(domain, objection), delegate);
}

Result<base::Signature> SignerClient::sign_tree_head(const base::Address& signer,
                                                     const eth::Domain& domain,
                                                     const eth::TreeHead& head) const {
    TRY_ASSIGN(const std::string line, ask(encode_request(SignTreeHead{signer, domain, head})));
    TRY_ASSIGN(const Answer answer, decode_answer(line));
    return checked_signature(answer.bytes, eth::digest(domain, head), signer);
}

}  // namespace ledger::signer

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "marketplace/http/admission.hpp"
#include "marketplace/http/head_parser.hpp"
#include "marketplace/http/io_thread.hpp"
#include "marketplace/http/router.hpp"
#include "marketplace/http/server.hpp"
#include "marketplace/http/stream_state.hpp"

#include <atomic>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace marketplace::http {

/// What all connections of a server share. Constant while it runs, but for the counters.
struct ServerShared {
    ServerOptions options;
    Router router;
    std::shared_ptr<Admission> admission;
    std::atomic<std::uint64_t> requests{0};
    std::atomic<std::uint64_t> refused{0};
    std::atomic<std::size_t> websockets{0};
    std::atomic<std::uint64_t> next_request_id{1};
    std::string request_id_prefix;  ///< random per start
};

/// One HTTP/1.1 connection: reads a request, has it handled, writes the response, again. Plain
/// callbacks on one thread; all deadlines are checked by the thread's tick.
class Connection final : public Registered, public std::enable_shared_from_this<Connection> {
 public:
    Connection(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
               Socket socket, std::string remote_address,
               std::unique_ptr<Admission::Ticket> ticket);

    void start();
    void on_tick(SteadyTime now) override;
    void drain() override;
    void shut() override { close(); }

    /// A handler's answer to request number `serial`; late and second answers are dropped.
    void respond(std::uint64_t serial, Response&& response);

 private:
    enum class State : std::uint8_t {
        kIdle,      // between requests, nothing read
        kHead,      // part of a head was read
        kBody,      // reading the body
        kHandling,  // the handler has it
        kWriting,   // a response with a known length
        kStreaming,
        kLingering,  // the last response is out; reading and dropping what still comes
        kClosed,
    };

    // Reading (connection.cpp)
    void begin_request();
    void wait_readable();
    void on_readable();
    void read_head();
    void on_head_bytes(const boost::system::error_code& ec, std::size_t got);
    void parse_head();
    void read_body();
    bool take_body(std::string_view piece);
    void read_and_drop();
    void watch_client();
    // Request (connection_request.cpp)
    void on_head();
    bool refuse_head();
    bool find_route();
    bool prepare_body();
    void send_continue();
    void handle();
    void upgrade();
    void refuse(int status, const ledger::base::Error& error);
    // Writing (connection_write.cpp)
    void send(Response&& response);
    void format_head(const Response& response, std::uint64_t length, bool has_body);
    bool open_file(const FileBody& file);
    void start_stream();
    void pump();
    bool refill();
    void refill_stream();
    void finish_response();
    void log_access(int status);
    void begin_linger();
    void close();

    [[nodiscard]] static SteadyTime after(std::chrono::milliseconds time) {
        return coarse_now() + time;
    }
    [[nodiscard]] std::string_view unread() const noexcept {
        return {buffer_.data() + begin_, end_ - begin_};
    }

    std::shared_ptr<IoThread> thread_;
    std::shared_ptr<ServerShared> shared_;
    Socket socket_;
    std::string remote_address_;
    std::unique_ptr<Admission::Ticket> ticket_;

    State state_ = State::kIdle;
    SteadyTime deadline_;
    bool draining_ = false;
    bool read_waiting_ = false;
    bool write_waiting_ = false;
    std::uint64_t serial_ = 0;  // requests begun on this connection

    std::vector<char> buffer_;  // unread bytes are [begin_, end_)
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::shared_ptr<Request> request_;
    std::optional<HeadParser> parser_;
    const Router::Route* route_ = nullptr;
    std::uint64_t body_left_ = 0;
    std::uint64_t window_bytes_ =
        0;  // received since the body deadline, or dropped while lingering
    bool keep_alive_ = false;
    SteadyTime request_start_;

    // What is being written: head_, then body_, then the file or stream's next piece in head_.
    std::string head_;
    std::size_t head_sent_ = 0;
    std::string body_;
    std::size_t body_sent_ = 0;
    std::size_t progress_ = 0;  // bytes since the write deadline was set
    std::uint64_t response_bytes_ = 0;
    int response_status_ = 0;
    std::ifstream file_;
    std::uint64_t file_left_ = 0;
    std::shared_ptr<StreamBody> stream_;
    std::shared_ptr<StreamState> stream_state_;
    std::size_t stream_in_flight_ = 0;  // payload bytes in head_
    bool stream_ended_ = false;
    SteadyTime stream_last_write_;
    unsigned ticks_ = 0;
};

/// Takes over a connection after a WebSocket upgrade was authorised.
void start_websocket(std::shared_ptr<IoThread> thread, std::shared_ptr<ServerShared> shared,
                     Socket socket, std::unique_ptr<Admission::Ticket> ticket,
                     std::shared_ptr<Request> request, std::shared_ptr<WebSocketHandler> handler);

}  // namespace marketplace::http

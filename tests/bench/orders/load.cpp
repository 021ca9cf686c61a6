// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/orders/load.hpp"

#include "ledger/base/check.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <ctime>
#include <deque>
#include <string_view>
#include <thread>

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

double cpu_s(clockid_t clock) {
    timespec time{};
    ::clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

int connect_to(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    MR_CHECK(fd >= 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr raw{};
    static_assert(sizeof(raw) == sizeof(address));
    std::copy_n(reinterpret_cast<const char*>(&address), sizeof(address),
                reinterpret_cast<char*>(&raw));
    MR_CHECK(::connect(fd, &raw, sizeof(raw)) == 0);
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    MR_CHECK(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

struct Connection {
    int fd = -1;
    std::string in;
    Clock::time_point due;
    bool busy = false;
};

class Generator {
 public:
    Generator(std::span<const std::string> requests, const LoadOptions& options)
        : requests_(requests), options_(options), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
        MR_CHECK(epoll_ >= 0);
        connections_.resize(options.connections);
        for (std::size_t i = 0; i < connections_.size(); ++i) {
            connections_[i].fd = connect_to(options.port);
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.u64 = i;
            MR_CHECK(::epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[i].fd, &event) == 0);
            free_.push_back(i);
        }
    }
    ~Generator() {
        for (const Connection& connection : connections_)
            ::close(connection.fd);
        ::close(epoll_);
    }
    Generator(const Generator&) = delete;
    Generator& operator=(const Generator&) = delete;

    LoadResult run() {
        const double cpu_before = thread_cpu_s();
        result_.latency_ms.reserve(requests_.size());
        start_ = Clock::now();
        while (result_.answered + result_.failed < requests_.size()) {
            send_due();
            receive();
        }
        const std::chrono::duration<double> passed = Clock::now() - start_;
        result_.seconds = passed.count();
        result_.generator_cpu_s = thread_cpu_s() - cpu_before;
        return std::move(result_);
    }

 private:
    [[nodiscard]] Clock::time_point due(std::size_t index) const {
        if (options_.rate_per_s == 0) return Clock::now();
        const std::chrono::duration<double> after(static_cast<double>(index) / options_.rate_per_s);
        return start_ + std::chrono::duration_cast<Clock::duration>(after);
    }

    void send_due() {
        while (next_ < requests_.size() && !free_.empty()) {
            const auto at = due(next_);
            if (at > Clock::now()) return;
            // In turns: the market closes connections that are not used.
            Connection& connection = connections_[free_.front()];
            free_.pop_front();
            connection.due = at;
            const std::string& request = requests_[next_++];
            // A request is smaller than an empty socket's buffer.
            const ssize_t sent =
                ::send(connection.fd, request.data(), request.size(), MSG_NOSIGNAL);
            MR_CHECK(sent == static_cast<ssize_t>(request.size()));
        }
    }

    void receive() {
        std::array<epoll_event, 64> events{};
        const bool waiting = options_.rate_per_s != 0 && next_ < requests_.size();
        const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()),
                                       waiting ? 0 : 1000);
        for (int i = 0; i < count; ++i)
            read_answer(events[static_cast<std::size_t>(i)].data.u64);
    }

    void read_answer(std::size_t index) {
        Connection& connection = connections_[index];
        std::array<char, 16 * 1024> piece{};
        const ssize_t got = ::recv(connection.fd, piece.data(), piece.size(), 0);
        MR_CHECK(got > 0);
        connection.in.append(piece.data(), static_cast<std::size_t>(got));
        if (!is_complete(connection.in)) return;
        const std::chrono::duration<double, std::milli> took = Clock::now() - connection.due;
        result_.latency_ms.push_back(took.count());
        if (connection.in.starts_with(options_.status)) {
            ++result_.answered;
        } else if (++result_.failed == 1) {
            result_.first_failure = connection.in;
        }
        result_.answer_bytes = connection.in.size();
        connection.in.clear();
        free_.push_back(index);
    }

    static bool is_complete(std::string_view answer) {
        constexpr std::string_view kLength = "content-length: ";
        const auto end = answer.find("\r\n\r\n");
        if (end == std::string_view::npos) return false;
        const auto at = answer.find(kLength);
        MR_CHECK(at < end);
        std::size_t length = 0;
        std::from_chars(answer.data() + at + kLength.size(), answer.data() + end, length);
        return answer.size() >= end + 4 + length;
    }

    std::span<const std::string> requests_;
    const LoadOptions& options_;
    int epoll_;
    std::vector<Connection> connections_;
    std::deque<std::size_t> free_;
    std::size_t next_ = 0;
    Clock::time_point start_;
    LoadResult result_;
};

}  // namespace

void pin_to_core(unsigned core) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(core % std::max(1U, std::thread::hardware_concurrency()), &cores);
    ::pthread_setaffinity_np(::pthread_self(), sizeof(cores), &cores);
}

double thread_cpu_s() {
    return cpu_s(CLOCK_THREAD_CPUTIME_ID);
}

double process_cpu_s() {
    return cpu_s(CLOCK_PROCESS_CPUTIME_ID);
}

LoadResult run_load(std::span<const std::string> requests, const LoadOptions& options) {
    LoadResult result;
    std::thread generator([&] {
        pin_to_core(options.core);
        result = Generator(requests, options).run();
    });
    generator.join();
    return result;
}

double quantile(std::vector<double>& values, double share) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const auto last = static_cast<double>(values.size() - 1);
    return values[static_cast<std::size_t>(share * last)];
}

}  // namespace bench

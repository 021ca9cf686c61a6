// SPDX-License-Identifier: Apache-2.0
// Loaded before a program's own libraries: ends it with SIGKILL just before or just after one of
// its writes, so that the program under test is the one that people run.
//
//   KILL_AT=market.db-wal:write:before:17   the 17th time that label is reached
//
// Labels are NAME:write and NAME:sync for a file's name (digits left out), NAME:rename for the new
// name, and broadcast:send for a socket over which a signed transaction leaves.
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

namespace {

struct Order {
    std::string label;
    bool before = true;
    long count = 0;  // 0: nobody is killed
};

const Order& order() {
    static const Order kOrder = [] {
        Order out;
        const char* text = std::getenv("KILL_AT");
        if (text == nullptr) return out;
        const std::string_view all(text);
        const auto count = all.rfind(':');
        const auto when = all.rfind(':', count - 1);
        out.label = all.substr(0, when);
        out.before = all.substr(when + 1, count - when - 1) == "before";
        out.count = std::strtol(text + count + 1, nullptr, 10);
        return out;
    }();
    return kOrder;
}

std::string base_name(std::string_view path) {
    std::string out;
    for (const char c : path.substr(path.rfind('/') + 1))
        if (c < '0' || c > '9') out += c;
    return out;
}

std::string name_of(int descriptor) {
    char link[64];
    char path[4096];
    std::snprintf(link, sizeof(link), "/proc/self/fd/%d", descriptor);
    const ssize_t size = ::readlink(link, path, sizeof(path));
    return size <= 0 ? std::string() : base_name({path, static_cast<std::size_t>(size)});
}

/// One visit of a place: kills in its constructor or destructor when its time has come.
class Boundary {
 public:
    explicit Boundary(const std::string& label) {
        static std::atomic<long> reached{0};
        if (order().count == 0 || label != order().label) return;
        is_it_ = ++reached == order().count;
        if (is_it_ && order().before) end();
    }
    ~Boundary() {
        if (is_it_ && !order().before) end();
    }

 private:
    static void end() { ::kill(::getpid(), SIGKILL); }
    bool is_it_ = false;
};

template <typename Function>
Function next(const char* name) {
    return reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));  // NOLINT
}

/// Files by name; sockets only when they carry a signed transaction.
std::string write_label(int descriptor, const void* data, std::size_t size) {
    if (order().count == 0) return {};
    struct stat info {};
    if (::fstat(descriptor, &info) != 0) return {};
    if (S_ISREG(info.st_mode)) return name_of(descriptor) + ":write";
    const bool carries = size != 0 && ::memmem(data, size, "eth_sendRawTransaction", 22) != nullptr;
    return S_ISSOCK(info.st_mode) && carries ? "broadcast:send" : "";
}
std::string sync_label(int descriptor) {
    return order().count == 0 ? std::string() : name_of(descriptor) + ":sync";
}

}  // namespace

extern "C" {

ssize_t write(int fd, const void* data, size_t size) {
    static const auto real = next<ssize_t (*)(int, const void*, size_t)>("write");
    const Boundary here(write_label(fd, data, size));
    return real(fd, data, size);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
    static const auto real = next<ssize_t (*)(int, const void*, size_t, off64_t)>("pwrite64");
    const Boundary here(write_label(fd, data, size));
    return real(fd, data, size, at);
}
ssize_t send(int fd, const void* data, size_t size, int flags) {
    static const auto real = next<ssize_t (*)(int, const void*, size_t, int)>("send");
    const Boundary here(write_label(fd, data, size));
    return real(fd, data, size, flags);
}
ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
    static const auto real = next<ssize_t (*)(int, const struct msghdr*, int)>("sendmsg");
    std::string label;
    for (std::size_t i = 0; i < message->msg_iovlen && label.empty(); ++i)
        label = write_label(fd, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
    const Boundary here(label);
    return real(fd, message, flags);
}
int fsync(int fd) {
    static const auto real = next<int (*)(int)>("fsync");
    const Boundary here(sync_label(fd));
    return real(fd);
}
int fdatasync(int fd) {
    static const auto real = next<int (*)(int)>("fdatasync");
    const Boundary here(sync_label(fd));
    return real(fd);
}
int rename(const char* from, const char* to) noexcept {
    static const auto real = next<int (*)(const char*, const char*)>("rename");
    const Boundary here(order().count == 0 ? std::string() : base_name(to) + ":rename");
    return real(from, to);
}

}  // extern "C"

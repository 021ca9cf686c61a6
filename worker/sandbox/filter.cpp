// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/filter.hpp"

#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

namespace worker::sandbox {

using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

struct ReleaseFilter {
    void operator()(scmp_filter_ctx context) const noexcept { seccomp_release(context); }
};
using Filter = std::unique_ptr<std::remove_pointer_t<scmp_filter_ctx>, ReleaseFilter>;

// Names, so that one that a kernel or libseccomp does not know is skipped rather than misread.
constexpr std::array kRefused{
    // what belongs to other processes
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_open",
    "pidfd_getfd", "pidfd_send_signal", "kcmp", "setpgid", "setsid",
    // namespaces and the file system's shape
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "mknod", "mknodat",
    "open_by_handle_at", "name_to_handle_at", "swapon", "swapoff", "quotactl", "fanotify_init",
    // the kernel
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "keyctl", "add_key", "request_key", "init_module", "finit_module",
    "delete_module", "kexec_load", "kexec_file_load", "reboot", "acct", "syslog", "iopl", "ioperm",
    "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "sethostname", "setdomainname",
    "personality", "lookup_dcookie", "vhangup", "nfsservctl", "uselib", "modify_ldt"};

// New processes and the network: what ranks need until they have met, and those on GPUs the network
// later too.
constexpr std::array kNewProcesses{"fork", "vfork"};
constexpr std::array kNetwork{"socket",  "socketpair", "connect", "bind",
                              "listen",  "accept",     "accept4", "sendto",
                              "sendmsg", "sendmmsg",   "recvmsg", "recvmmsg"};

// Ranks are plain processes: no namespace of their own.
constexpr std::array kCloneNamespaces{CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

enum class Phase : std::uint8_t { kBeforeData, kAfter };

/// A filter under way; `fine` ends false when a rule was not taken.
struct Rules {
    void refuse(const char* name, int error) {
        const int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR || number < 0) return;
        fine = fine && seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)),
                                        number, 0) == 0;
    }
    void refuse_if(const char* name, const scmp_arg_cmp& condition) {
        fine = fine && seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM),
                                        seccomp_syscall_resolve_name(name), 1, condition) == 0;
    }
    Filter filter;
    bool fine = true;
};

/// IPv4 to meet, routing's netlink, by which Gloo and NCCL look up the interface, and `local`.
void limit_sockets(Rules& rules, int local) {
    rules.refuse_if("socket", SCMP_A0(SCMP_CMP_GT, static_cast<scmp_datum_t>(AF_NETLINK)));
    for (int family = 0; family < AF_NETLINK; ++family)
        if (family != AF_INET && family != local)
            rules.refuse_if("socket", SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
    const scmp_arg_cmp netlink = SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(AF_NETLINK));
    const scmp_arg_cmp other = SCMP_A2(SCMP_CMP_NE, static_cast<scmp_datum_t>(NETLINK_ROUTE));
    rules.fine = rules.fine &&
                 seccomp_rule_add(rules.filter.get(), SCMP_ACT_ERRNO(EPERM),
                                  seccomp_syscall_resolve_name("socket"), 2, netlink, other) == 0;
}

Filter build(Start start, Phase phase) {
    Rules rules{Filter(seccomp_init(SCMP_ACT_ALLOW))};
    if (!rules.filter) return nullptr;
    for (const char* name : kRefused)
        rules.refuse(name, EPERM);
    // glibc falls back to clone, whose flags a filter can read.
    rules.refuse("clone3", ENOSYS);
    if (start == Start::kAlone || (start == Start::kRanks && phase == Phase::kAfter)) {
        for (const char* name : kNetwork)
            rules.refuse(name, EPERM);
    } else {
        limit_sockets(rules, start == Start::kGpuRanks ? AF_UNIX : AF_INET);
    }
    if (start != Start::kAlone && phase == Phase::kBeforeData) {
        for (const int flag : kCloneNamespaces) {
            const auto bit = static_cast<scmp_datum_t>(static_cast<unsigned>(flag));
            rules.refuse_if("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
        }
    } else {
        for (const char* name : kNewProcesses)
            rules.refuse(name, EPERM);
        rules.refuse_if("clone",
                        SCMP_A0(SCMP_CMP_MASKED_EQ, static_cast<scmp_datum_t>(CLONE_THREAD), 0));
    }
    if (phase == Phase::kAfter) {
        rules.refuse("execve", EPERM);
        rules.refuse("execveat", EPERM);
    }
    if (!rules.fine) return nullptr;
    return std::move(rules.filter);
}

}  // namespace

Result<int> make_filter_fd(Start start) {
    const Filter filter = build(start, Phase::kBeforeData);
    if (!filter) return fail(ErrorCode::sandbox_unavailable, "the seccomp filter cannot be built");
    const int fd = ::memfd_create("millrace-seccomp", MFD_CLOEXEC);
    if (fd < 0) return fail(ErrorCode::sandbox_unavailable, "memfd_create is refused here");
    if (seccomp_export_bpf(filter.get(), fd) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
        ::close(fd);
        return fail(ErrorCode::sandbox_unavailable, "the seccomp filter cannot be written");
    }
    return fd;
}

bool load_strict_filter(Start start) noexcept {
    const Filter filter = build(start, Phase::kAfter);
    return filter && seccomp_load(filter.get()) == 0;
}

}  // namespace worker::sandbox

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
#include <memory>
#include <type_traits>

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

// New processes and the network: what ranks need until they have met.
constexpr std::array kRefusedAlone{"fork",    "vfork",    "socket",  "socketpair", "connect",
                                   "bind",    "listen",   "accept",  "accept4",    "sendto",
                                   "sendmsg", "sendmmsg", "recvmsg", "recvmmsg"};

// Ranks are plain processes: no namespace of their own.
constexpr std::array kCloneNamespaces{CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};

Filter build(Start start, bool refuse_exec) {
    Filter filter(seccomp_init(SCMP_ACT_ALLOW));
    if (!filter) return nullptr;
    bool fine = true;
    const auto refuse = [&](const char* name, int error) {
        const int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR || number < 0) return;
        fine = fine && seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)),
                                        number, 0) == 0;
    };
    const auto refuse_if = [&](const char* name, const scmp_arg_cmp& condition) {
        fine = fine && seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM),
                                        seccomp_syscall_resolve_name(name), 1, condition) == 0;
    };
    for (const char* name : kRefused)
        refuse(name, EPERM);
    // glibc falls back to clone, whose flags a filter can read.
    refuse("clone3", ENOSYS);
    if (start == Start::kRanks) {
        for (const int flag : kCloneNamespaces) {
            const auto bit = static_cast<scmp_datum_t>(static_cast<unsigned>(flag));
            refuse_if("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, bit, bit));
        }
        // IPv4 to meet, and routing's netlink, by which Gloo looks up the interface.
        refuse_if("socket", SCMP_A0(SCMP_CMP_LT, static_cast<scmp_datum_t>(AF_INET)));
        refuse_if("socket", SCMP_A0(SCMP_CMP_GT, static_cast<scmp_datum_t>(AF_NETLINK)));
        for (int family = AF_INET + 1; family < AF_NETLINK; ++family)
            refuse_if("socket", SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
        const scmp_arg_cmp netlink = SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(AF_NETLINK));
        const scmp_arg_cmp other = SCMP_A2(SCMP_CMP_NE, static_cast<scmp_datum_t>(NETLINK_ROUTE));
        fine = fine &&
               seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(EPERM),
                                seccomp_syscall_resolve_name("socket"), 2, netlink, other) == 0;
    } else {
        for (const char* name : kRefusedAlone)
            refuse(name, EPERM);
        refuse_if("clone", SCMP_A0(SCMP_CMP_MASKED_EQ, static_cast<scmp_datum_t>(CLONE_THREAD), 0));
    }
    if (refuse_exec) {
        refuse("execve", EPERM);
        refuse("execveat", EPERM);
    }
    if (!fine) return nullptr;
    return filter;
}

}  // namespace

Result<int> make_filter_fd(Start start) {
    const Filter filter = build(start, /*refuse_exec=*/false);
    if (!filter) return fail(ErrorCode::sandbox_unavailable, "the seccomp filter cannot be built");
    const int fd = ::memfd_create("millrace-seccomp", MFD_CLOEXEC);
    if (fd < 0) return fail(ErrorCode::sandbox_unavailable, "memfd_create is refused here");
    if (seccomp_export_bpf(filter.get(), fd) != 0 || ::lseek(fd, 0, SEEK_SET) != 0) {
        ::close(fd);
        return fail(ErrorCode::sandbox_unavailable, "the seccomp filter cannot be written");
    }
    return fd;
}

bool load_strict_filter() noexcept {
    const Filter filter = build(Start::kAlone, /*refuse_exec=*/true);
    return filter && seccomp_load(filter.get()) == 0;
}

}  // namespace worker::sandbox

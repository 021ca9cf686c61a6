// SPDX-License-Identifier: Apache-2.0
#include "worker/sandbox/sandbox.hpp"

#include "worker/sandbox/filter.hpp"
#include "worker/sandbox/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

namespace worker::sandbox {

namespace fs = std::filesystem;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;

namespace {

constexpr const char* kBwrap = "/usr/bin/bwrap";
constexpr std::string_view kProgram = "/worker";

class Arguments {
 public:
    template <typename... Text>
    void add(const Text&... text) {
        (list_.emplace_back(text), ...);
    }
    /// A folder of the host that is a link there (Debian's /lib → usr/lib) stays one.
    void add_system_folder(const std::string& path) {
        std::error_code error;
        const fs::path target = fs::read_symlink(path, error);
        if (!error) {
            add("--symlink", target.string(), path);
        } else if (fs::is_directory(path, error)) {
            add("--ro-bind", path, path);
        }
    }
    [[nodiscard]] std::vector<std::string> take() { return std::move(list_); }

 private:
    std::vector<std::string> list_;
};

void add_gpu(Arguments& out) {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator("/dev", error)) {
        const std::string name = entry.path().filename().string();
        if (name.starts_with("nvidia"))
            out.add("--dev-bind", entry.path().string(), entry.path().string());
    }
    // cuInit reads /sys; its shared memory needs a place of its own.
    out.add("--ro-bind", "/sys", "/sys", "--size", "1073741824", "--tmpfs", "/dev/shm");
}

std::vector<std::string> plain_environment(const Plan& plan) {
    std::vector<std::string> out{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp"};
    for (const auto& [name, value] : plan.environment)
        out.push_back(name + "=" + value);
    return out;
}

std::string first_line(const fs::path& path) {
    std::ifstream in(path);
    std::string line;
    std::getline(in, line);
    return line.substr(0, 200);
}

}  // namespace

Result<Mode> parse_mode(std::string_view text) {
    if (text == "none") return Mode::kNone;
    if (text == "bwrap") return Mode::kBwrap;
    return fail(ErrorCode::config_invalid, "--sandbox must be bwrap or none");
}

std::string_view to_string(Mode mode) noexcept {
    return mode == Mode::kNone ? "none" : "bwrap";
}

std::vector<std::string> bwrap_arguments(const Plan& plan) {
    Arguments out;
    out.add(kBwrap, "--unshare-user", "--unshare-all", "--die-with-parent", "--new-session");
    out.add("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--hostname", "job");
    out.add("--clearenv");
    for (const std::string& pair : plain_environment(plan)) {
        const std::size_t equals = pair.find('=');
        out.add("--setenv", pair.substr(0, equals), pair.substr(equals + 1));
    }
    out.add("--ro-bind", "/usr", "/usr");
    for (const char* folder : {"/lib", "/lib64", "/lib32", "/bin"})
        out.add_system_folder(folder);
    // Debian resolves BLAS through /etc/alternatives.
    out.add("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache");
    out.add("--ro-bind-try", "/etc/alternatives", "/etc/alternatives");
    out.add("--proc", "/proc", "--dev", "/dev");
    if (plan.gpu) add_gpu(out);
    if (plan.tmp_bytes > 0) out.add("--size", std::to_string(plan.tmp_bytes));
    out.add("--tmpfs", "/tmp");
    for (const fs::path& folder : plan.read_only)
        out.add("--ro-bind", folder.string(), folder.string());
    for (const Bind& input : plan.inputs)
        out.add("--ro-bind", input.host.string(), input.inside.string());
    out.add("--bind", plan.job_dir.string(), kJobDir, "--chdir", kJobDir);
    out.add("--ro-bind", plan.command.front(), kProgram);
    // The root and /dev are small memory file systems of bubblewrap's: nothing may grow there.
    out.add("--remount-ro", "/dev", "--remount-ro", "/", "--", kProgram);
    for (std::size_t i = 1; i < plan.command.size(); ++i)
        out.add(plan.command[i]);
    return out.take();
}

Result<Child> spawn(const Plan& plan, Mode mode) {
    Launch launch;
    launch.log = plan.job_dir / "child.log";
    launch.working_dir = plan.job_dir;
    launch.memory_bytes = plan.memory_bytes;
    launch.file_bytes = plan.file_bytes;
    if (mode == Mode::kNone) {
        launch.arguments = plan.command;
        launch.environment = plain_environment(plan);
        return start_process(launch);
    }
    if (::access(kBwrap, X_OK) != 0)
        return fail(ErrorCode::sandbox_unavailable, "bubblewrap is not installed");
    const Start start = !plan.ranks ? Start::kAlone : plan.gpu ? Start::kGpuRanks : Start::kRanks;
    TRY_ASSIGN(launch.kept_fd, make_filter_fd(start));
    launch.arguments = bwrap_arguments(plan);
    launch.arguments.insert(launch.arguments.begin() + 1,
                            {"--seccomp", std::to_string(launch.kept_fd)});
    launch.environment = {"PATH=/usr/bin:/bin", "LANG=C.UTF-8"};
    auto child = start_process(launch);
    ::close(launch.kept_fd);
    return child;
}

bool forbid_exec(Later later) noexcept {
    return load_strict_filter(later == Later::kGpuRanks ? Start::kGpuRanks : Start::kAlone);
}

Result<void> probe() {
    std::string folder = (fs::temp_directory_path() / "millrace-probe-XXXXXX").string();
    if (::mkdtemp(folder.data()) == nullptr)
        return fail(ErrorCode::io_error, "no temporary folder can be made");
    Plan plan;
    plan.command = {"/bin/true"};
    plan.job_dir = folder;
    plan.tmp_bytes = 1U << 20U;
    auto child = spawn(plan, Mode::kBwrap);
    int status = -1;
    if (child) {
        ::close(child->stdin_fd);
        while (::waitpid(child->pid, &status, 0) < 0 && errno == EINTR) {
        }
        ::close(child->stdout_fd);
    }
    const std::string said = first_line(fs::path(folder) / "child.log");
    std::error_code ignored;
    fs::remove_all(folder, ignored);
    if (!child) return tl::make_unexpected(child.error());
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    return unavailable_from(said);
}

tl::unexpected<ledger::base::Error> unavailable_from(std::string_view said) {
    const bool namespaces = said.find("namespace") != std::string_view::npos ||
                            said.find("uid map") != std::string_view::npos ||
                            said.find("Operation not permitted") != std::string_view::npos;
    if (namespaces)
        return fail(
            ErrorCode::sandbox_unavailable,
            fmt::format("this machine refuses user namespaces ({}); in a container start it "
                        "with --security-opt seccomp=unconfined --security-opt "
                        "apparmor=unconfined, on a host set "
                        "kernel.unprivileged_userns_clone=1, or accept --sandbox none",
                        said));
    return fail(
        ErrorCode::sandbox_unavailable,
        fmt::format("bubblewrap failed ({}); --sandbox none runs jobs without walls", said));
}

}  // namespace worker::sandbox

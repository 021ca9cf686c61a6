// SPDX-License-Identifier: Apache-2.0
#include "worker/executor/job_process.hpp"

#include "ledger/base/check.hpp"
#include "worker/sandbox/launch.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <utility>

namespace worker::executor {

using ledger::base::Error;
using ledger::base::ErrorCode;
using ledger::base::fail;
using ledger::base::Result;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

namespace {

constexpr std::size_t kOutboundMax = 4 * kLineBytesMax;
constexpr seconds kStopGrace{10};

void set_nonblocking(int fd) {
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/// What bubblewrap wrote before it gave up; empty when the child itself spoke.
std::string bwrap_complaint(const std::filesystem::path& job_dir) {
    std::ifstream in(job_dir / "child.log");
    std::string line;
    std::getline(in, line);
    return line.starts_with("bwrap:") ? line.substr(0, 200) : std::string();
}

/// A write to a child that has gone must be an error here, not the end of the worker.
void ignore_sigpipe() {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

/// Returns when the process has exited (its status stays to be reaped) or the grace is over.
void await_exit(pid_t pid) {
    constexpr int kExitGraceMs = 2000;
    const auto fd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
    if (fd < 0) return;
    pollfd watched{fd, POLLIN, 0};
    while (::poll(&watched, 1, kExitGraceMs) < 0 && errno == EINTR) {
    }
    ::close(fd);
}

}  // namespace

JobProcess::JobProcess(JobLaunch launch, EventSink sink)
    : launch_(std::move(launch)),
      sink_(std::move(sink)),
      wake_fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<std::unique_ptr<JobProcess>> JobProcess::start(JobLaunch launch, EventSink sink) {
    std::unique_ptr<JobProcess> job(new JobProcess(std::move(launch), std::move(sink)));
    if (job->wake_fd_ < 0) return fail(ErrorCode::io_error, "no event descriptor can be made");
    std::promise<Result<void>> started;
    auto outcome = started.get_future();
    // The child dies with the thread that forks it, so that thread must be the one that lives on.
    job->thread_ = std::thread([&started, self = job.get()] { self->run(started); });
    TRY(outcome.get());
    return job;
}

JobProcess::~JobProcess() {
    kill();
    if (thread_.joinable()) {
        MR_CHECK(thread_.get_id() != std::this_thread::get_id());
        thread_.join();
    }
    if (wake_fd_ >= 0) ::close(wake_fd_);
}

void JobProcess::run(std::promise<Result<void>>& started) {
    ignore_sigpipe();
    auto child = sandbox::spawn(launch_.plan, launch_.mode);
    if (!child) {
        {
            const std::lock_guard lock(mutex_);
            ended_ = true;
        }
        started.set_value(tl::make_unexpected(child.error()));
        return;
    }
    child_ = *child;
    set_nonblocking(child_.stdin_fd);
    set_nonblocking(child_.stdout_fd);
    started_at_ = steady_clock::now();
    last_event_at_ = started_at_;
    {
        const std::lock_guard lock(mutex_);
        outbound_ = encode_start(launch_.start) + "\n";
    }
    started.set_value({});
    read_until_end();
    ::close(child_.stdin_fd);
    ::close(child_.stdout_fd);
    // A child whose output ended is about to exit, and its own status says why: killed at once it
    // would look like one that ran out of memory.
    await_exit(child_.pid);
    // Whatever is left of its session must be gone before its end is told.
    ::kill(-child_.pid, SIGKILL);
    int status = 0;
    while (::waitpid(child_.pid, &status, 0) < 0 && errno == EINTR) {
    }
    report_end(status);
}

void JobProcess::read_until_end() {
    for (;;) {
        bool pending = false;
        {
            const std::lock_guard lock(mutex_);
            pending = !outbound_.empty();
        }
        std::array<pollfd, 3> watched{{{child_.stdout_fd, POLLIN, 0},
                                       {wake_fd_, POLLIN, 0},
                                       {pending ? child_.stdin_fd : -1, POLLOUT, 0}}};
        const int count = ::poll(watched.data(), watched.size(), poll_timeout_ms());
        if (count < 0 && errno != EINTR) return;
        if (watched[1].revents != 0) {
            std::uint64_t ignored = 0;
            [[maybe_unused]] const ssize_t got = ::read(wake_fd_, &ignored, sizeof(ignored));
        }
        if (watched[2].revents != 0) write_some();
        if (watched[0].revents != 0 && !read_some()) return;
        enforce_deadlines();
    }
}

bool JobProcess::read_some() {
    std::array<char, 65536> piece{};
    const ssize_t got = ::read(child_.stdout_fd, piece.data(), piece.size());
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    inbound_.append(piece.data(), static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end = inbound_.find('\n'); end != std::string::npos;
         end = inbound_.find('\n', begin)) {
        take_line(std::string_view(inbound_).substr(begin, end - begin));
        begin = end + 1;
    }
    inbound_.erase(0, begin);
    if (inbound_.size() > kLineBytesMax)
        end_with(Error(ErrorCode::worker_failed, "the job wrote a line without an end"));
    return true;
}

void JobProcess::write_some() {
    const std::lock_guard lock(mutex_);
    const ssize_t sent = ::write(child_.stdin_fd, outbound_.data(), outbound_.size());
    if (sent > 0) outbound_.erase(0, static_cast<std::size_t>(sent));
    if (sent < 0 && errno != EAGAIN && errno != EINTR) outbound_.clear();
}

void JobProcess::take_line(std::string_view line) {
    if (last_ || killed_for_) return;  // nothing counts after the end
    auto event = decode_event(line);
    if (!event) {
        end_with(Error(ErrorCode::worker_failed, "the job broke the protocol"));
        return;
    }
    if (auto error = check(*event)) {
        end_with(std::move(*error));
        return;
    }
    note(*event);
    if (std::holds_alternative<Finished>(*event) || std::holds_alternative<Failed>(*event)) {
        last_ = std::move(*event);
        return;
    }
    sink_(*event);
}

std::optional<Error> JobProcess::check(const JobEvent& event) {
    const bool training = launch_.start.kind == ChildStart::Kind::kTrain;
    const bool audit = launch_.start.kind == ChildStart::Kind::kAudit;
    if (std::holds_alternative<Failed>(event)) return std::nullopt;
    if (const auto* ready = std::get_if<Ready>(&event)) {
        if (ready_) return Error(ErrorCode::worker_failed, "the job was ready twice");
        if (ready->step > launch_.steps)
            return Error(ErrorCode::worker_failed, "the job starts past its end");
        return std::nullopt;
    }
    if (!ready_) return Error(ErrorCode::worker_failed, "the job worked before it was ready");
    if (const auto* segment = std::get_if<Segment>(&event)) {
        // Units are billed by these numbers, so they must follow from the spec.
        const bool follows = training && segment->step <= launch_.steps &&
                             segment->steps <= launch_.segment_steps &&
                             segment->step == last_step_ + segment->steps;
        if (!follows) return Error(ErrorCode::worker_failed, "the job reports steps out of order");
        struct stat info {};
        const auto path = launch_.plan.job_dir / segment->checkpoint;
        if (::lstat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode) ||
            static_cast<std::uint64_t>(info.st_size) != segment->bytes)
            return Error(ErrorCode::worker_failed,
                         "the job reports a checkpoint that is not there");
    }
    if (std::holds_alternative<Audited>(event) && (!audit || audited_))
        return Error(ErrorCode::worker_failed, "the job audited what it was not asked to");
    if (const auto* finished = std::get_if<Finished>(&event)) {
        if (audit && audited_ && finished->step == launch_.steps) return std::nullopt;
        const bool done = last_step_ == launch_.steps || (launch_.may_end_early && last_step_ > 0);
        if (!training || finished->step != last_step_ || !done)
            return Error(ErrorCode::worker_failed, "the job ended before its last step");
    }
    return std::nullopt;
}

void JobProcess::note(JobEvent& event) {
    last_event_at_ = steady_clock::now();
    if (const auto* ready = std::get_if<Ready>(&event)) {
        ready_ = true;
        last_step_ = ready->step;
    }
    audited_ |= std::holds_alternative<Audited>(event);
    if (auto* segment = std::get_if<Segment>(&event)) {
        last_step_ = segment->step;
        // The path as the caller sees it.
        segment->checkpoint = launch_.plan.job_dir / segment->checkpoint;
    }
    const auto* done = std::get_if<GenerationDone>(&event);
    const auto* refused = std::get_if<GenerationRefused>(&event);
    if (done == nullptr && refused == nullptr) return;
    const std::lock_guard lock(mutex_);
    requests_.erase(done != nullptr ? done->id : refused->id);
}

int JobProcess::poll_timeout_ms() {
    // Deadlines are in seconds; half a second of lateness is fine.
    return 500;
}

void JobProcess::enforce_deadlines() {
    if (killed_for_) return;
    bool paused = false;
    bool kill_now = false;
    std::optional<Time> stop_deadline;
    {
        const std::lock_guard lock(mutex_);
        paused = paused_;
        kill_now = kill_wanted_;
        stop_deadline = stop_deadline_;
    }
    const Time now = steady_clock::now();
    const auto passed = [&](Time since, std::uint64_t limit) {
        return limit > 0 && now - since > seconds(limit);
    };
    const JobLimits& limits = launch_.limits;
    if (paused) last_event_at_ = now;
    if (kill_now || (stop_deadline && now > *stop_deadline)) {
        end_with(Error(ErrorCode::cancelled, "the job was stopped"));
    } else if (!ready_ && passed(started_at_, limits.start_seconds_max)) {
        end_with(Error(ErrorCode::timeout, "the job did not start in time"));
    } else if (passed(started_at_, limits.seconds_max)) {
        end_with(Error(ErrorCode::timeout, "the job ran past its time limit"));
    } else if (ready_ && launch_.start.kind != ChildStart::Kind::kServe &&
               passed(last_event_at_, limits.stall_seconds_max)) {
        end_with(Error(ErrorCode::timeout, "the job made no progress"));
    }
}

void JobProcess::end_with(Error error) {
    if (!killed_for_) killed_for_ = std::move(error);
    // bubblewrap's child dies with it.
    ::kill(-child_.pid, SIGKILL);
    ::kill(child_.pid, SIGKILL);
}

Error JobProcess::cause_of(int status) const {
    if (!ready_ && launch_.mode == sandbox::Mode::kBwrap) {
        const std::string complaint = bwrap_complaint(launch_.plan.job_dir);
        if (!complaint.empty()) return sandbox::unavailable_from(complaint).value();
    }
    // bubblewrap reports its child's signal as 128 + number.
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) > 128) signal = WEXITSTATUS(status) - 128;
    if (signal == SIGKILL)
        return Error(ErrorCode::out_of_memory, "the system killed the job, most likely for memory");
    if (signal == SIGXFSZ) return Error(ErrorCode::disk_full, "the job passed its file size limit");
    if (signal != 0)
        return Error(ErrorCode::worker_failed,
                     fmt::format("the job crashed with signal {}", signal));
    return Error(ErrorCode::worker_failed, "the job ended without a result");
}

void JobProcess::report_end(int status) {
    std::set<std::string> open;
    bool stopping = false;
    {
        const std::lock_guard lock(mutex_);
        ended_ = true;
        open.swap(requests_);
        stopping = stop_deadline_.has_value() || kill_wanted_;
    }
    JobEvent end = Failed{Error(ErrorCode::cancelled, "the job was stopped")};
    if (killed_for_) {
        end = Failed{*killed_for_};
    } else if (last_) {
        end = *last_;
    } else if (!stopping) {
        end = Failed{cause_of(status)};
    }
    for (const std::string& id : open)
        sink_(GenerationRefused{id, Error(ErrorCode::unavailable, "the model's process ended")});
    sink_(end);
}

bool JobProcess::send(const std::string& line) {
    {
        const std::lock_guard lock(mutex_);
        if (ended_ || outbound_.size() + line.size() > kOutboundMax) return false;
        outbound_ += line;
        outbound_ += '\n';
    }
    wake();
    return true;
}

void JobProcess::wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t sent = ::write(wake_fd_, &one, sizeof(one));
}

void JobProcess::pause() {
    {
        const std::lock_guard lock(mutex_);
        if (paused_) return;
        paused_ = true;
    }
    (void)send(encode_command(Pause{}));
}

void JobProcess::resume() {
    {
        const std::lock_guard lock(mutex_);
        if (!paused_) return;
        paused_ = false;
    }
    (void)send(encode_command(Resume{}));
}

void JobProcess::stop() {
    {
        const std::lock_guard lock(mutex_);
        if (!stop_deadline_) stop_deadline_ = steady_clock::now() + kStopGrace;
    }
    (void)send(encode_command(Stop{}));
}

void JobProcess::kill() {
    {
        const std::lock_guard lock(mutex_);
        kill_wanted_ = true;
    }
    wake();
}

Result<void> JobProcess::generate(const GenerateRequest& request) {
    return ask(request.id, request);
}

Result<void> JobProcess::embed(const EmbedRequest& request) {
    return ask(request.id, request);
}

void JobProcess::pace(const std::string& id, model::TextModel::Pace pace) {
    (void)send(encode_command(Hold{id, pace}));
}

Result<void> JobProcess::ask(const std::string& id, const Command& command) {
    if (launch_.start.kind != ChildStart::Kind::kServe)
        return fail(ErrorCode::wrong_state, "the job does not serve");
    if (id.empty() || id.size() > 128)
        return fail(ErrorCode::invalid_field, "a request id has 1 to 128 bytes");
    const std::string line = encode_command(command);
    if (line.size() > kLineBytesMax) return fail(ErrorCode::too_large, "the prompt passes 1 MiB");
    {
        const std::lock_guard lock(mutex_);
        if (ended_) return fail(ErrorCode::unavailable, "the model's process has ended");
        if (!requests_.insert(id).second)
            return fail(ErrorCode::wrong_state, "a request with this id is under way");
    }
    if (send(line)) return {};
    const std::lock_guard lock(mutex_);
    requests_.erase(id);
    return fail(ErrorCode::queue_full, "the model has too many requests waiting");
}

void JobProcess::abort(const std::string& id) {
    (void)send(encode_command(Abort{id}));
}

}  // namespace worker::executor

// linkem, a link emulator in user space: forwards frames between two interfaces, and impairs them
// on the way. README.md beside this file is its manual.
#include <sched.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <system_error>

#include "tests/linkem/commands.h"
#include "tests/linkem/control_socket.h"
#include "tests/linkem/packet_port.h"

namespace dr::linkem {
namespace {

struct Options {
    std::string a;
    std::string b;
    std::string control;
    std::uint64_t seed = 1;
    std::size_t frames = 65536;
    bool realtime = true;
};

Nanoseconds monotonic_now() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

[[noreturn]] void fail(const char* what) {
    throw std::system_error(errno, std::generic_category(), what);
}

FileDescriptor open_or_fail(int fd, const char* what) {
    if (fd < 0) fail(what);
    return FileDescriptor{fd};
}

FileDescriptor termination_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    return open_or_fail(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

class Emulator {
  public:
    explicit Emulator(const Options& options)
        : pool_(options.frames),
          ports_{PacketPort(options.a, pool_), PacketPort(options.b, pool_)},
          link_(options.seed, pool_,
                [this](Side to, FrameHandle frame) {
                    ports_[index(to)].transmit(std::move(frame), towards(to));
                }),
          control_(options.control, epoll_.get(), [this](const std::string& line) {
              count_overruns();
              return execute(link_, line, monotonic_now());
          }) {
        for (const int fd : {ports_[0].fd(), ports_[1].fd(), timer_.get(), signals_.get()}) {
            epoll_event event{};
            event.events = EPOLLIN;
            event.data.fd = fd;
            if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) fail("epoll_ctl");
        }
        frames_.reserve(PacketPort::kBurst);
    }

    void run() {
        while (!ended_) {
            std::array<epoll_event, 16> events;
            const int n = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
            if (n < 0 && errno != EINTR) fail("epoll_wait");
            for (int i = 0; i < n; ++i) serve(events[static_cast<std::size_t>(i)].data.fd);
            release();
        }
    }

  private:
    Counters& towards(Side to) { return link_.from(other(to)).counters; }

    void serve(int fd) {
        if (fd == signals_.get())
            ended_ = true;
        else if (fd == timer_.get())
            armed_.reset();  // and release() follows; setting the timer again reads it
        else if (fd == ports_[0].fd())
            receive(Side::A);
        else if (fd == ports_[1].fd())
            receive(Side::B);
        else
            control_.ready(fd);
    }

    // One burst: what is due must not wait until a flood has been read.
    void receive(Side from) {
        frames_.clear();
        ports_[index(from)].receive(frames_, link_.from(from).counters);
        const auto now = monotonic_now();
        for (auto& frame : frames_) link_.input(from, std::move(frame), now);
    }

    void release() {
        const auto next = link_.release(monotonic_now());
        for (const Side side : {Side::A, Side::B}) ports_[index(side)].flush(towards(side));
        if (next == armed_ && (next || !timer_set_)) return;
        itimerspec when{};
        if (next) {
            when.it_value.tv_sec = *next / 1'000'000'000;
            when.it_value.tv_nsec = *next % 1'000'000'000;
        }
        if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0)
            fail("timerfd_settime");
        armed_ = next;
        timer_set_ = next.has_value();
    }

    void count_overruns() {
        for (const Side side : {Side::A, Side::B})
            link_.from(side).counters.add(Counter::drop_overrun, ports_[index(side)].overruns());
    }

    FileDescriptor signals_ = termination_signals();
    FileDescriptor epoll_ = open_or_fail(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    FileDescriptor timer_ =
        open_or_fail(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK), "timerfd_create");
    FramePool pool_;
    std::array<PacketPort, 2> ports_;
    Link link_;
    ControlSocket control_;
    std::vector<FrameHandle> frames_;
    std::optional<Nanoseconds> armed_;
    bool timer_set_ = false;
    bool ended_ = false;
};

// Without these every delay is as late as the scheduler pleases. Not everyone may.
void become_realtime() {
    const sched_param priority{.sched_priority = 1};
    if (sched_setscheduler(0, SCHED_FIFO, &priority) != 0)
        std::fprintf(stderr, "linkem: warning: no real-time priority: %s\n", std::strerror(errno));
}

int run(const Options& options) {
    Emulator emulator(options);
    if (options.realtime) become_realtime();
    std::puts("linkem: ready");
    std::fflush(stdout);
    emulator.run();
    return 0;
}

}  // namespace
}  // namespace dr::linkem

int main(int argc, char** argv) {
    dr::linkem::Options options;
    CLI::App app{"Forwards frames between two interfaces and impairs them; tests/linkem/README.md"};
    app.add_option("--a", options.a, "interface at side a")->required();
    app.add_option("--b", options.b, "interface at side b")->required();
    app.add_option("--control", options.control, "path of the control socket")->required();
    app.add_option("--seed", options.seed, "of every random decision")->capture_default_str();
    app.add_option("--frames", options.frames, "most frames in flight, 2 KiB each")
        ->capture_default_str()
        ->check(CLI::Range(128UL, 4'000'000UL));
    app.add_flag("!--no-realtime", options.realtime, "keep the ordinary scheduling class");
    CLI11_PARSE(app, argc, argv);
    try {
        return dr::linkem::run(options);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "linkem: error: %s\n", error.what());
        return 1;
    }
}

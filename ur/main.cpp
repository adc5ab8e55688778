// urd, the User Router on Linux. Everything it creates belongs to an object that removes it again;
// the order of declaration in run() is the order of building up, and backwards of taking down.
#include <poll.h>
#include <sys/capability.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include "process/files.h"
#include "process/rights.h"
#include "ur/config_file.h"
#include "ur/log.h"
#include "ur/options.h"
#include "ur/router.h"
#include "ur/site_signalling.h"
#include "ur/status.h"

namespace dr::ur {
namespace {

Config load(const Options& options) {
    std::ifstream file(options.config);
    if (!file) throw std::system_error(errno, std::generic_category(), options.config);
    // One byte more than a configuration may have, whatever the file is.
    std::string text((std::size_t{1} << 20) + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(file.gcount()));
    Config config = parse_config(text);
    assign_devices(config, line_devices(options.lines));
    return config;
}

class Signals final {
  public:
    Signals() {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGHUP);
        // Before any thread is made, so that all inherit it.
        sigprocmask(SIG_BLOCK, &set, nullptr);
        fd_ = ::signalfd(-1, &set, SFD_CLOEXEC);
        if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
    }
    ~Signals() { ::close(fd_); }
    Signals(const Signals&) = delete;
    Signals& operator=(const Signals&) = delete;
    [[nodiscard]] int fd() const { return fd_; }
    // The one that has come.
    [[nodiscard]] int take() const {
        signalfd_siginfo info{};
        const ssize_t count = ::read(fd_, &info, sizeof info);
        return count == sizeof info ? static_cast<int>(info.ssi_signo) : SIGTERM;
    }

  private:
    int fd_;
};

// SIGHUP: the credentials may be others. What is in force stays, whatever the file says.
void reload(const std::string& file, SiteSignalling* signalling) {
    if (signalling == nullptr) {
        say("SIGHUP: goes on; a changed configuration needs a restart");
        return;
    }
    try {
        signalling->renew(read_credentials(file));
        say("event=credentials file=%s", file.c_str());
    } catch (const std::exception& e) {
        say("error: SIGHUP: the present credentials go on: %s", e.what());
    }
}

// Waits until one of them is readable, or for the time by Router::now().
void wait(std::span<pollfd> fds, liveness::Time until) {
    timespec left{};
    if (until != liveness::kNever) {
        const auto now = Router::now();
        const auto ns = until > now ? until - now : 0;
        left = {static_cast<time_t>(ns / liveness::kSecond),
                static_cast<long>(ns % liveness::kSecond)};
    }
    if (::ppoll(fds.data(), fds.size(), until == liveness::kNever ? nullptr : &left, nullptr) < 0 &&
        errno != EINTR)
        throw std::system_error(errno, std::generic_category(), "poll");
}

// Until a signal says to end.
void serve(const Signals& signals, const Options& options, StatusServer& status, Router& router,
           SiteSignalling* signalling) {
    for (;;) {
        const auto until = router.run();
        std::array<pollfd, 7> fds{{{signals.fd(), POLLIN, 0},
                                   {router.message_fd(), POLLIN, 0},
                                   {router.change_fd(), POLLIN, 0},
                                   {status.fd(), POLLIN, 0},
                                   {signalling == nullptr ? -1 : signalling->fd(), POLLIN, 0},
                                   {router.icmp_fd(4), POLLIN, 0},
                                   {router.icmp_fd(6), POLLIN, 0}}};
        wait(fds, until);
        if (fds[0].revents != 0) {
            if (signals.take() != SIGHUP) return;
            reload(options.credentials, signalling);
        }
        if (fds[2].revents != 0) {
            router.take_changes();
            if (signalling != nullptr) signalling->tell_lines();
        }
        if (fds[1].revents != 0) router.take_messages();
        if ((fds[5].revents | fds[6].revents) != 0) router.take_hints();
        if (fds[4].revents != 0) signalling->take();
        if (fds[3].revents != 0)
            status.answer(
                status_json(router, signalling == nullptr ? SignallingView{} : signalling->view()));
    }
}

// The credentials hold a private key.
void keep_to_owner(const std::string& file) {
    std::string why;
    if (!file.empty() && !process::narrow_file(file, 0600, &why)) say("warning: %s", why.c_str());
}

void require(bool limited, const std::string& why) {
    if (!limited) throw std::runtime_error("own rights cannot be limited: " + why);
}

// What is done later: netlink requests, sysctls and the attaching of programs to further lines
// (NET_ADMIN), and the programs' maps (BPF). Sockets are bound to a line's device without a right.
void drop_rights() {
    std::string why;
    require(process::keep_capabilities({CAP_NET_ADMIN, CAP_BPF}, &why), why);
}

int run(const Options& options) {
    std::optional<Config> config;
    if (!options.config.empty()) config = load(options);
    std::optional<v1::Credentials> credentials;
    if (!options.credentials.empty()) credentials = read_credentials(options.credentials);
    if (options.check) return 0;
    std::string why;
    require(process::limit_at_start(options.allow_core_dumps, &why), why);
    keep_to_owner(options.credentials);
    const Signals signals;
    StatusServer status(options.socket);
    RouterOptions router_options{options.device, options.lan, {}, options.local_breakout};
    for (const auto& [line, device] : line_devices(options.lines))
        router_options.lines.insert(device);
    Router router(router_options);
    std::optional<SiteSignalling> signalling;
    if (credentials) signalling.emplace(std::move(*credentials), options, router);
    drop_rights();
    if (config) {
        if (auto conflicts = router.conflicts(*config); !conflicts.empty())
            throw ConfigError(std::move(conflicts));
        router.apply(std::move(*config));
    } else {
        signalling->start();
    }
    std::puts("urd: ready");
    std::fflush(stdout);
    // A fault that ends urd must not open the lines: what guards them stays until the next start.
    router.leave_guard(true);
    serve(signals, options, status, router, signalling ? &*signalling : nullptr);
    router.say_goodbye();
    router.leave_guard(options.keep_guard);
    return 0;
}

int show_status(const Options& options) {
    const std::string text = ask_status(options.socket);
    std::fputs((options.json ? text : status_table(text)).c_str(), stdout);
    return 0;
}

int start(int argc, char** argv) {
    Options options;
    CLI::App app{"urd: the User Router's end of the tunnels to the Distribution Router"};
    app.set_version_flag("--version", std::string(DR_VERSION));
    auto* credentials = app.add_option("--credentials", options.credentials,
                                       "attach to a DR with this file (drcli subscriber enroll)");
    app.add_option("--config", options.config,
                   "or: a fixed configuration, without keepalives (drcli subscriber ur-config)")
        ->excludes(credentials);
    app.add_option("--line", options.lines, "NAME=DEVICE: the network device of a line");
    app.add_option("--lan", options.lan, "the site's device: forwarding is enabled on it");
    app.add_flag("--local-breakout", options.local_breakout,
                 "let packets that are not the site's be forwarded out of the lines in clear");
    app.add_flag("--keep-guard", options.keep_guard,
                 "leave the lines' guard, rules and unreachable routes in place at the end");
    app.add_option("--state", options.state,
                   "folder where the last attachment is kept, to start without a DR")
        ->capture_default_str();
    app.add_option("--fallback-after", options.fallback_after,
                   "seconds without signalling after a new attachment, before the last one that "
                   "worked is put in force again")
        ->check(CLI::Range(30U, 86'400U))
        ->capture_default_str();
    app.add_option("--device", options.device, "name of the tunnel device")->capture_default_str();
    app.add_option("--socket", options.socket, "socket of `urd status`")->capture_default_str();
    app.add_flag("--allow-core-dumps", options.allow_core_dumps,
                 "for debugging: a core dump holds the tunnels' keys");
    app.add_flag("--check", options.check, "read the configuration or credentials and end");
    auto* status = app.add_subcommand("status", "show tunnels and counters of the running urd");
    status->add_flag("--json", options.json, "as JSON");
    status->fallthrough();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    if (status->parsed()) return show_status(options);
    if (options.config.empty() && options.credentials.empty()) {
        std::fputs("urd: error: --credentials FILE or --config FILE is required\n", stderr);
        return 2;
    }
    return run(options);
}

}  // namespace
}  // namespace dr::ur

int main(int argc, char** argv) {
    // The reader of the log may end; the tunnels go on.
    ::signal(SIGPIPE, SIG_IGN);
    try {
        return dr::ur::start(argc, argv);
    } catch (const dr::ur::ConfigError& e) {
        for (const auto& message : e.messages())
            dr::ur::say("error: configuration: %s", message.c_str());
    } catch (const std::exception& e) {
        dr::ur::say("error: %s", e.what());
    }
    return 1;
}

// urd, the User Router on Linux. Everything it creates belongs to an object that removes it again;
// the order of declaration in run() is the order of building up, and backwards of taking down.
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <system_error>

#include "ur/config.h"
#include "ur/datapath.h"
#include "ur/lines.h"
#include "ur/routing.h"
#include "ur/status.h"
#include "ur/sysctl.h"
#include "ur/tap.h"

namespace dr::ur {
namespace {

struct Options {
    std::string config;
    std::vector<std::string> lines;
    std::string lan;
    std::string device = "dr0";
    std::string socket = kDefaultSocket;
    bool json = false;
    bool check = false;
};

Config load(const Options& options) {
    std::ifstream file(options.config);
    if (!file) throw std::system_error(errno, std::generic_category(), options.config);
    Config config = parse_config({std::istreambuf_iterator<char>(file), {}});
    std::map<std::string, std::string> devices;
    for (const auto& line : options.lines) {
        const auto equals = line.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == line.size())
            throw ConfigError({"--line " + line + ": must be NAME=DEVICE"});
        devices[line.substr(0, equals)] = line.substr(equals + 1);
    }
    assign_devices(config, devices);
    return config;
}

bool has_family(const Config& config, std::uint8_t family) {
    for (const auto& prefix : config.prefixes)
        if (prefix.address.family == family) return true;
    return false;
}

// Forwarding between the LAN and the tunnel device. Only settings of single devices are touched;
// for what is global the operator is told.
std::vector<SysctlGuard> enable_forwarding(const Config& config, const Options& options) {
    std::vector<SysctlGuard> guards;
    std::vector<std::string> devices{options.device};
    if (!options.lan.empty()) devices.push_back(options.lan);
    bool every_device = true;
    for (const auto& device : devices) {
        if (has_family(config, 4)) guards.emplace_back("ipv4/conf/" + device + "/forwarding", "1");
        if (!has_family(config, 6)) continue;
        const std::string force = "ipv6/conf/" + device + "/force_forwarding";
        if (read_sysctl(force).empty())
            every_device = false;
        else
            guards.emplace_back(force, "1");
    }
    // Its packets come from everywhere; which are accepted is decided before they get here.
    guards.emplace_back("ipv4/conf/" + options.device + "/rp_filter", "0");
    if (options.lan.empty() && has_family(config, 4) && read_sysctl("ipv4/ip_forward") == "0")
        std::fprintf(stderr,
                     "urd: warning: IPv4 forwarding is off; name the LAN with --lan DEVICE, or set "
                     "net.ipv4.ip_forward=1\n");
    if (has_family(config, 6) && (options.lan.empty() || !every_device) &&
        read_sysctl("ipv6/conf/all/forwarding") == "0")
        std::fprintf(stderr,
                     "urd: warning: IPv6 forwarding is off; set "
                     "net.ipv6.conf.all.forwarding=1 (and accept_ra=2 on lines that need "
                     "router advertisements)\n");
    return guards;
}

int open_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

void refresh(Lines& lines) {
    try {
        lines.refresh();
    } catch (const std::exception& e) {
        // A device may have gone between two questions; the next change brings us here again.
        std::fprintf(stderr, "urd: warning: lines: %s\n", e.what());
    }
}

struct Daemon {
    const Config& config;
    const std::string& device;
    int signals;
    StatusServer& status;
    NetlinkMonitor& monitor;
    const Datapath& datapath;
    Lines& lines;
};

// Until a signal says to end.
void serve(const Daemon& d) {
    using Clock = std::chrono::steady_clock;
    // Changes come in bursts; they are looked at together.
    constexpr auto kGather = std::chrono::milliseconds(50);
    constexpr auto kNever = Clock::time_point::max();

    auto due = kNever;
    for (;;) {
        int wait = -1;
        if (due != kNever) {
            const auto left = std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now());
            wait = static_cast<int>(std::max<std::int64_t>(0, left.count()));
        }
        pollfd fds[]{
            {d.signals, POLLIN, 0}, {d.monitor.fd(), POLLIN, 0}, {d.status.fd(), POLLIN, 0}};
        if (poll(fds, 3, wait) < 0 && errno != EINTR)
            throw std::system_error(errno, std::generic_category(), "poll");
        if (fds[0].revents != 0) return;
        if (fds[1].revents != 0) {
            d.monitor.drain();
            due = std::min(due, Clock::now() + kGather);
        }
        if (fds[2].revents != 0) d.status.answer(status_json(d.config, d.datapath, d.device));
        if (Clock::now() >= due) {
            due = kNever;
            refresh(d.lines);
        }
    }
}

int run(const Options& options) {
    const Config config = load(options);
    if (options.check) return 0;
    const int signals = open_signals();
    StatusServer status(options.socket);
    Netlink netlink;
    NetlinkMonitor monitor;
    Tap tap(options.device);
    netlink.set_up_device(tap.index(), config.mtu());
    Datapath datapath(netlink, config, tap);
    const auto forwarding = enable_forwarding(config, options);
    Lines lines(netlink, config, datapath);
    lines.refresh();
    const Routing routing(netlink, config, tap.index());
    std::puts("urd: ready");
    std::fflush(stdout);
    serve({config, tap.name(), signals, status, monitor, datapath, lines});
    ::close(signals);
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
    app.add_option("--config", options.config,
                   "the site's configuration (drcli subscriber ur-config)");
    app.add_option("--line", options.lines, "NAME=DEVICE: the network device of a line");
    app.add_option("--lan", options.lan, "the site's device: forwarding is enabled on it");
    app.add_option("--device", options.device, "name of the tunnel device")->capture_default_str();
    app.add_option("--socket", options.socket, "socket of `urd status`")->capture_default_str();
    app.add_flag("--check", options.check, "read the configuration and end");
    auto* status = app.add_subcommand("status", "show tunnels and counters of the running urd");
    status->add_flag("--json", options.json, "as JSON");
    status->fallthrough();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
    }
    if (status->parsed()) return show_status(options);
    if (options.config.empty()) {
        std::fputs("urd: error: --config FILE is required\n", stderr);
        return 2;
    }
    return run(options);
}

}  // namespace
}  // namespace dr::ur

int main(int argc, char** argv) {
    try {
        return dr::ur::start(argc, argv);
    } catch (const dr::ur::ConfigError& e) {
        for (const auto& message : e.messages())
            std::fprintf(stderr, "urd: error: configuration: %s\n", message.c_str());
    } catch (const std::exception& e) {
        std::fprintf(stderr, "urd: error: %s\n", e.what());
    }
    return 1;
}

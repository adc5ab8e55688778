// dr-dataplane: command line, signals, and the rest in DataPlane.
#include <fmt/format.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>

#include "base/printable.h"
#include "dataplane/data_plane.h"
#include "process/rights.h"

namespace {

struct Options {
    std::string config;
    std::string socket;
    bool no_huge = false;
    bool check = false;
    bool allow_core_dumps = false;
};

void fail(const std::string& message) {
    fmt::print(stderr, "dr-dataplane: error: {}\n", dr::printable_lines(message));
}

// Blocks them for all threads to come and lets a descriptor tell of them.
int watch_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);
    // A terminal that closes, or a reload: the file is read at the start alone.
    signal(SIGHUP, SIG_IGN);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int run(const Options& options) {
    dr::Config config;
    std::vector<std::string> errors;
    if (!dr::load_config(options.config, &config, &errors)) {
        for (const std::string& error : errors) fail(options.config + ": " + error);
        return 1;
    }
    if (!options.socket.empty()) config.socket = options.socket;
    if (options.check) {
        fmt::print("{}: good: {} ports, {} workers\n", options.config, config.ports.size(),
                   config.workers);
        return 0;
    }
    std::string error;
    if (!dr::process::limit_at_start(options.allow_core_dumps, &error)) {
        fail(error);
        return 1;
    }
    const int signals = watch_signals();
    const auto data_plane = dr::DataPlane::start(config, options.no_huge, &error);
    if (!data_plane) {
        fail(error);
        return 1;
    }
    fmt::print("dr-dataplane: ready\n");
    std::fflush(stdout);
    data_plane->run(signals);
    return 0;
}

}  // namespace

// What CLI11 throws while its options are declared is a defect of ours, and ends the process.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
    CLI::App app{"The forwarding process of a Distribution Router."};
    app.set_version_flag("--version", DR_VERSION);
    Options options;
    app.add_option("--config", options.config, "the configuration file (JSON)")->required();
    app.add_option("--socket", options.socket, "path of the southbound socket, before the file's");
    app.add_flag("--no-huge", options.no_huge, "use small pages even where huge pages are free");
    app.add_flag("--check", options.check, "validate the configuration file and end");
    app.add_flag("--allow-core-dumps", options.allow_core_dumps,
                 "for debugging: a core dump holds the keys of all tunnels");
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 2;
    }
    return run(options);
}

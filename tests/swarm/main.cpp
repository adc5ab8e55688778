// swarm: thousands of simulated URs at a memif port of dr-dataplane.
//
//   swarm FLEET_FILE MEMIF_SOCKET [--cpu N] [--start-rate TUNNELS_A_SECOND]
//
// Commands come by standard input, one a line; each is answered by one line of JSON:
//   connect | disconnect      the link to the data plane; disconnect before stopping that one
//   status                    what there is and has been
//   traffic UPLINK DOWNLINK   data packets a second, of all sites together
//   cut LINE | mend LINE      silently, on this line of every site
//   mark                      forgets the recovery times
//   recovery                  when tunnels were Up and sites' data passed since mark: how many, and
//                             milliseconds of CLOCK_MONOTONIC of the first, middle and last
//   capture sent|received N FILE   the next N keepalive frames, as a pcap
//   quit
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

#include "tests/swarm/capture.h"
#include "tests/swarm/memif_wire.h"

namespace {

using namespace dr::swarm;
using dr::liveness::kMillisecond;
using dr::liveness::kSecond;

volatile std::sig_atomic_t stopped = 0;

Time now_ns() {
    timespec t{};
    clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<Time>(t.tv_sec) * kSecond + static_cast<Time>(t.tv_nsec);
}

struct Options {
    std::string fleet;
    std::string socket;
    unsigned cpu = 0;
    std::size_t start_rate = 10'000;
};

bool read_options(int argc, char** argv, Options* options) {
    if (argc < 3 || argc % 2 == 0) return false;
    options->fleet = argv[1];
    options->socket = argv[2];
    for (int i = 3; i < argc; i += 2) {
        char* end = nullptr;
        const unsigned long value = std::strtoul(argv[i + 1], &end, 10);
        if (end == argv[i + 1] || *end != '\0') return false;
        if (std::strcmp(argv[i], "--cpu") == 0)
            options->cpu = static_cast<unsigned>(value);
        else if (std::strcmp(argv[i], "--start-rate") == 0 && value != 0)
            options->start_rate = value;
        else
            return false;
    }
    return true;
}

// Lines of standard input, without waiting.
class Commands {
  public:
    // false: there is none now. *ended: nor will there be.
    bool next(std::string* line, bool* ended) {
        pollfd input{STDIN_FILENO, POLLIN, 0};
        std::array<char, 512> bytes{};
        while (pending_.find('\n') == std::string::npos && ::poll(&input, 1, 0) > 0) {
            const ssize_t n = read(STDIN_FILENO, bytes.data(), bytes.size());
            if (n <= 0) {
                *ended = true;
                return false;
            }
            pending_.append(bytes.data(), static_cast<std::size_t>(n));
        }
        const std::size_t end = pending_.find('\n');
        if (end == std::string::npos) return false;
        *line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return true;
    }

  private:
    std::string pending_;
};

std::string times(const char* name, std::vector<Time> values) {
    values.erase(std::remove(values.begin(), values.end(), Time{0}), values.end());
    std::sort(values.begin(), values.end());
    const auto ms = [&](std::size_t i) {
        return values.empty() ? 0.0 : static_cast<double>(values[i]) / 1e6;
    };
    return fmt::format(
        R"("{}": {{"count": {}, "first": {:.3f}, "median": {:.3f}, "last": {:.3f}}})", name,
        values.size(), ms(0), ms(values.size() / 2), ms(values.empty() ? 0 : values.size() - 1));
}

class Program {
  public:
    Program(const Options& options, Swarm& swarm, MemifWire& wire)
        : options_(options), swarm_(swarm), wire_(wire) {}

    void run() {
        Time look = 0;
        while (stopped == 0) {
            const Time now = now_ns();
            if (now >= look && !obey(now)) break;
            if (now >= look) look = now + kMillisecond;
            start_tunnels(now);
            const unsigned received =
                wire_.poll(now, [&](auto frame) { swarm_.receive(now, frame); });
            swarm_.run(now);
            wire_.flush();
            if (received != 0) continue;
            const timespec pause{0, 100'000};
            nanosleep(&pause, nullptr);
        }
    }

  private:
    void start_tunnels(Time now) {
        if (!wire_.connected() || unstarted_ == 0) return;
        if (begun_ == 0) begun_ = now;
        const auto due =
            static_cast<std::size_t>((now - begun_) * options_.start_rate / kSecond) + 1;
        if (due > swarm_.tunnels()) unstarted_ = swarm_.start(now, due - swarm_.tunnels());
    }

    bool obey(Time now) {
        std::string line;
        bool ended = false;
        while (commands_.next(&line, &ended)) {
            if (line == "quit") return false;
            fmt::print("{}\n", answer(now, line));
            std::fflush(stdout);
        }
        return !ended;
    }

    std::string answer(Time now, const std::string& line) {
        std::istringstream words(line);
        std::string verb;
        words >> verb;
        if (verb == "status") return status();
        if (verb == "recovery") return recovery();
        if (verb == "connect") {
            wire_.connect();
        } else if (verb == "disconnect") {
            wire_.disconnect();
        } else if (verb == "mark") {
            swarm_.mark();
        } else if (verb == "cut" || verb == "mend") {
            unsigned number = 0;
            if (!(words >> number) || number >= dr::liveness::kLines)
                return refuse("cut LINE or mend LINE, 0 to 15");
            swarm_.cut(static_cast<std::uint8_t>(number), verb == "cut");
        } else if (verb == "traffic") {
            std::uint64_t uplink = 0;
            std::uint64_t downlink = 0;
            if (!(words >> uplink >> downlink)) return refuse("traffic UPLINK DOWNLINK");
            swarm_.set_traffic(now, uplink, downlink);
        } else if (verb == "capture") {
            return capture(words);
        } else {
            return refuse(
                "a command: connect, disconnect, status, traffic, cut, mend, mark, recovery, "
                "capture, quit");
        }
        return R"({"ok": true})";
    }

    static std::string refuse(const std::string& wanted) {
        return fmt::format(R"({{"error": "wanted: {}"}})", wanted);
    }

    std::string capture(std::istringstream& words) {
        std::string direction;
        std::uint64_t frames = 0;
        std::string path;
        words >> direction >> frames >> path;
        if ((direction != "sent" && direction != "received") || frames == 0 || path.empty())
            return refuse("capture sent|received N FILE");
        capture_ = Capture::create(path, frames);
        if (capture_ == nullptr) return refuse("a file that can be written, not " + path);
        captures_sent_ = direction == "sent";
        swarm_.observe([this](bool sent, std::span<const std::uint8_t> frame) {
            if (capture_ != nullptr && sent == captures_sent_ && !capture_->add(frame))
                capture_.reset();
        });
        return R"({"ok": true})";
    }

    std::string recovery() {
        const Recovery& r = swarm_.recovery();
        return fmt::format("{{{}, {}, {}}}", times("up", r.up), times("uplink", r.uplink),
                           times("downlink", r.downlink));
    }

    std::string status() {
        const auto& s = swarm_.statistics();
        const DataTotals& d = swarm_.data();
        std::string downs;
        for (const Down& down : swarm_.downs())
            downs += fmt::format(
                R"({}{{"tunnel": {}, "cause": "{}", "at_ms": {:.3f}}})", downs.empty() ? "" : ", ",
                down.tunnel, dr::liveness::text(down.cause), static_cast<double>(down.at) / 1e6);
        return fmt::format(
            R"({{"connected": {}, "started": {}, "unstarted": {}, "up": {}, "settled": {}, )"
            R"("capturing": {}, "lost": {}, "strays": {}, "sent": {}, "received": {}, )"
            R"("bad_tag": {}, "replayed": {}, "ups": {}, "downs": {}, "false_downs": {}, )"
            R"("uplink_sent": {}, "uplink_delivered": {}, "downlink_sent": {}, )"
            R"("downlink_delivered": {}, "first_downs": [{}]}})",
            wire_.connected(), swarm_.tunnels(), unstarted_, swarm_.up(), swarm_.settled(),
            capture_ != nullptr, wire_.lost(), swarm_.strays(), s.sent, s.received, s.bad_tag,
            s.replayed, s.ups, s.downs, s.false_downs, d.uplink_sent, d.uplink_delivered,
            d.downlink_sent, d.downlink_delivered, downs);
    }

    const Options& options_;
    Swarm& swarm_;
    MemifWire& wire_;
    Commands commands_;
    std::unique_ptr<Capture> capture_;
    bool captures_sent_ = false;
    std::size_t unstarted_ = 1;
    Time begun_ = 0;
};

int fail(const std::string& why) {
    fmt::print(stderr, "swarm: {}\n", why);
    return 1;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    if (!read_options(argc, argv, &options)) {
        fmt::print(stderr,
                   "usage: swarm FLEET_FILE MEMIF_SOCKET [--cpu N] [--start-rate TUNNELS]\n");
        return 2;
    }
    std::ifstream file(options.fleet);
    Fleet fleet;
    std::string error;
    if (!file) return fail(options.fleet + ": " + std::strerror(errno));
    if (!read_fleet(file, &fleet, &error)) return fail(options.fleet + ": " + error);
    std::signal(SIGTERM, [](int) { stopped = 1; });
    std::signal(SIGINT, [](int) { stopped = 1; });
    MemifWire wire;
    if (!wire.open(options.socket, options.cpu, &error)) return fail(error);
    const auto swarm = Swarm::create(fleet, wire, now_ns(), &error);
    if (swarm == nullptr) return fail(error);
    fmt::print("{{\"ready\": true, \"tunnels\": {}}}\n", fleet.tunnels.size());
    std::fflush(stdout);
    Program(options, *swarm, wire).run();
    return 0;
}

// Recorded lines: the simulator's own two columns, or what ping -D prints.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "tests/sim/scenario.h"

namespace dr::sim {

namespace {

constexpr double kLongestDelay = 3.6e6;  // ms
constexpr double kLatest = 1e10;         // s: wall clocks count from 1970
constexpr unsigned kMostLost = 100'000;  // in a row

struct Row {
    double at;  // seconds, from any start
    double delay_ms;
    bool lost;
};

[[noreturn]] void fail(const std::string& name, unsigned row, const std::string& what) {
    throw ScenarioError(fmt::format("{}:{}: {}", name, row, what));
}

std::optional<double> number_in(const std::string& text, double most) {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != 0 || !(value >= 0) || !(value < most)) return std::nullopt;
    return value;
}

// `seconds delay_ms` or `seconds lost`; none: the row is empty.
std::optional<Row> plain_row(std::string text, const std::string& name, unsigned number) {
    text.erase(std::min(text.find('#'), text.size()));
    std::replace(text.begin(), text.end(), ',', ' ');
    std::istringstream fields(text);
    std::string at, value, rest;
    if (!(fields >> at)) return std::nullopt;
    const auto seconds = number_in(at, kLatest);
    const bool shaped = fields >> value && !(fields >> rest);
    const bool lost = value == "lost" || value == "-";
    const auto delay = lost ? std::optional(0.0) : number_in(value, kLongestDelay);
    if (!shaped || !seconds || !delay) {
        fail(name, number, "expected 'seconds delay_ms' or 'seconds lost'");
    }
    return Row{*seconds, *delay, lost};
}

// What stands between `before` and the next blank.
std::string field(const std::string& text, const std::string& before) {
    const std::size_t at = text.find(before);
    if (at == std::string::npos) return {};
    const std::size_t from = at + before.size();
    return text.substr(from, text.find_first_of(" ]", from) - from);
}

// `[seconds] 64 bytes from HOST: icmp_seq=N ttl=N time=X ms`, as ping -D prints. Half of the round
// trip is taken for the delay; numbers that are missing are lost messages.
class PingRows {
  public:
    PingRows(std::vector<Row>& rows, const std::string& name) : rows_(rows), name_(name) {}

    void add(const std::string& text, unsigned number) {
        const std::string sequence = field(text, "icmp_seq=");
        const std::string time = field(text, "time=");
        if (text[0] != '[' || sequence.empty() || time.empty()) return;  // a headline, a summary
        const auto at = number_in(field(text, "["), kLatest);
        const auto n = number_in(sequence, 65536);
        const auto ms = number_in(time, kLongestDelay);
        if (!at || !n || !ms) fail(name_, number, "expected a line of ping -D");
        const auto seq = static_cast<std::uint16_t>(*n);
        // A line is printed when the answer comes.
        const double sent = *at - *ms / 1000;
        if (!rows_.empty()) {
            const unsigned step = static_cast<std::uint16_t>(seq - sequence_);
            if (step == 0 || step > 0x8000) return;  // twice, or overtaken
            if (step > kMostLost) fail(name_, number, "too many lost in a row");
            lost_between(sent, step);
        }
        sequence_ = seq;
        rows_.push_back({sent, *ms / 2, false});
    }

  private:
    void lost_between(double until, unsigned step) {
        const double from = rows_.back().at;
        for (unsigned i = 1; i < step; ++i)
            rows_.push_back({from + (until - from) * i / step, 0, true});
    }

    std::vector<Row>& rows_;
    const std::string& name_;
    std::uint16_t sequence_ = 0;
};

Trace trace_of(const std::vector<Row>& rows, const std::string& name) {
    if (rows.size() < 2) throw ScenarioError(name + ": expected at least two samples");
    Trace trace;
    for (const Row& row : rows) {
        const auto at = static_cast<Time>((row.at - rows.front().at) * double{kSecond});
        const bool rising = trace.empty() || (row.at > rows.front().at && at > trace.back().at);
        if (!rising) {
            throw ScenarioError(
                fmt::format("{}: sample {}: expected a later time than the one before", name,
                            trace.size() + 1));
        }
        trace.push_back({at, static_cast<Time>(row.delay_ms * double{kMillisecond}), row.lost});
    }
    return trace;
}

}  // namespace

std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in.is_open() || in.bad()) throw ScenarioError(path + ": cannot be read");
    return text.str();
}

Trace parse_trace(const std::string& text, const std::string& name) {
    std::vector<Row> rows;
    PingRows ping(rows, name);
    const bool of_ping = text.starts_with("PING ") || text.starts_with('[');
    std::istringstream in(text);
    std::string line;
    for (unsigned number = 1; std::getline(in, line); ++number) {
        if (of_ping) {
            if (!line.empty()) ping.add(line, number);
        } else if (const auto row = plain_row(line, name, number)) {
            rows.push_back(*row);
        }
    }
    return trace_of(rows, name);
}

Trace load_trace(const std::string& path) {
    return parse_trace(read_file(path), path);
}

Scenario scenario_of_trace(Trace trace, const std::string& name) {
    Scenario s;
    s.name = std::filesystem::path(name).stem().string();
    s.tunnels = 100;
    s.hours = 1;
    Line line;
    line.delay.trace = std::make_shared<Trace>(std::move(trace));
    s.lines = {line, line};
    return s;
}

}  // namespace dr::sim

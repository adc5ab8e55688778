#include "tests/sim/world.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <mutex>
#include <thread>

#include "tests/sim/detector.h"
#include "tests/sim/path.h"

namespace dr::sim {

namespace {

constexpr Time kStart = 1000 * kSecond;  // clocks do not start at 0
constexpr Time kHour = 3600 * kSecond;
constexpr Time kAftermath = 3 * kSecond;

struct Transition {
    Time at;
    std::uint32_t line;
    bool begins;
    Direction direction;
};

std::vector<Transition> transitions_of(const Scenario& scenario, std::uint64_t seed) {
    const auto end = static_cast<Time>(scenario.hours * double{kHour});
    std::vector<Transition> result;
    Random random(seed);
    for (std::uint32_t line = 0; line < scenario.lines.size(); ++line) {
        for (const Cuts& cuts : scenario.lines[line].cuts) {
            for (Time at = cuts.from; at < std::min(end, cuts.until); at += cuts.every) {
                const Time late =
                    static_cast<Time>(random.uniform() * static_cast<double>(cuts.spread));
                const Time begin = kStart + at + late;
                result.push_back({begin, line, true, cuts.direction});
                result.push_back({begin + cuts.length, line, false, cuts.direction});
                if (cuts.every == 0) break;
            }
        }
    }
    std::sort(result.begin(), result.end(),
              [](const Transition& a, const Transition& b) { return a.at < b.at; });
    return result;
}

struct Flight {
    Time at;
    std::uint64_t order;
    std::uint32_t slot;
    bool operator<(const Flight& f) const { return at != f.at ? at > f.at : order > f.order; }
};

struct Message {
    Side to;
    unsigned line;
    std::size_t size;
    std::array<std::uint8_t, 256> bytes;
};

// What happens to one line, and what its ends make of it.
struct LineView {
    std::array<bool, 2> up{};        // by Side
    std::array<bool, 2> awaiting{};  // the end has not found the current cut yet
    std::array<unsigned, 2> cuts{};  // in force, by the Side that they keep messages from
    Time cut_at = 0;
    Time cut_ended = 0;
    bool down = false;  // from the first end's Down until both are Up

    [[nodiscard]] bool cut() const { return cuts[0] + cuts[1] != 0; }
};

class World final : public Observer {
  public:
    World(const Scenario& scenario, const std::string& detector, unsigned number)
        : scenario_(scenario), lines_(scenario.lines.size()) {
        Random seeds(scenario.seed * 0x9e3779b97f4a7c15ULL + number);
        for (auto& paths : paths_) {
            for (const Line& line : scenario.lines) paths.emplace_back(line, seeds.next());
        }
        transitions_ = transitions_of(scenario, seeds.next());
        detector_ = make_detector(detector, scenario, seeds.next(), now_, *this);
    }

    Result run() {
        const Time end = kStart + static_cast<Time>(scenario_.hours * double{kHour});
        for (Time next = due(); next < end; next = due()) {
            now_ = std::max(now_, next);
            step();
        }
        now_ = end;
        if (path_lost_ != 0) result_.without_path_s += seconds(now_ - path_lost_);
        result_.last_removed = detector_->last_removed();
        return std::move(result_);
    }

    void send(Side from, unsigned line, std::span<const std::uint8_t> message) override {
        ++result_.messages;
        const Side to = other(from);
        const Time at = paths_[static_cast<unsigned>(to)][line].arrival(now_ - kStart);
        if (at == kNever) return;
        if (message.size() > sizeof(Message::bytes)) throw ScenarioError("a message is too long");
        if (free_.empty()) {
            free_.push_back(static_cast<std::uint32_t>(messages_.size()));
            messages_.emplace_back();
        }
        const std::uint32_t slot = free_.back();
        free_.pop_back();
        Message& m = messages_[slot];
        m.to = to;
        m.line = line;
        m.size = message.size();
        std::copy(message.begin(), message.end(), m.bytes.begin());
        flights_.push_back({kStart + at, order_++, slot});
        std::push_heap(flights_.begin(), flights_.end());
    }

    void state(Side at, unsigned line, bool up) override {
        LineView& l = lines_[line];
        const auto side = static_cast<unsigned>(at);
        l.up[side] = up;
        if (up) {
            if (l.up[0] && l.up[1]) l.down = false;
            return;
        }
        if (l.awaiting[side]) {
            l.awaiting[side] = false;
            result_.detected_ms.push_back(static_cast<float>(seconds(now_ - l.cut_at) * 1000));
        }
        if (l.down) return;
        l.down = true;
        ++result_.downs;
        const bool after_cut = l.cut_ended != 0 && now_ < l.cut_ended + kAftermath;
        if (l.cut() || after_cut) return;
        ++result_.false_downs;
        result_.false_downs_first += line == 0;
    }

    void path(unsigned line) override {
        if (line == kNoPath) {
            if (path_lost_ == 0 && path_ != kNoPath) path_lost_ = now_;
            return;
        }
        if (path_lost_ != 0) result_.without_path_s += seconds(now_ - path_lost_);
        path_lost_ = 0;
        if (path_ != kNoPath && line != path_) count_change();
        path_ = line;
    }

  private:
    static double seconds(Time t) { return static_cast<double>(t) / double{kSecond}; }

    [[nodiscard]] Time due() const {
        Time next = std::min(detector_->deadline(Side::Dr), detector_->deadline(Side::Ur));
        if (!flights_.empty()) next = std::min(next, flights_.front().at);
        if (transition_ < transitions_.size()) next = std::min(next, transitions_[transition_].at);
        return next;
    }

    void step() {
        while (transition_ < transitions_.size() && transitions_[transition_].at <= now_) {
            cut(transitions_[transition_++]);
        }
        while (!flights_.empty() && flights_.front().at <= now_) deliver();
        for (const Side side : kSides) {
            if (detector_->deadline(side) <= now_) detector_->run(now_, side);
        }
    }

    void deliver() {
        std::pop_heap(flights_.begin(), flights_.end());
        const std::uint32_t slot = flights_.back().slot;
        flights_.pop_back();
        const Message m = messages_[slot];  // answers may move the others
        free_.push_back(slot);
        detector_->receive(now_, m.to, m.line, {m.bytes.data(), m.size});
    }

    void cut(const Transition& t) {
        LineView& l = lines_[t.line];
        const bool before = l.cut();
        for (const Side to : kSides) {
            const bool meant = t.direction == Direction::Both ||
                               (t.direction == Direction::ToDr) == (to == Side::Dr);
            if (!meant) continue;
            const auto side = static_cast<unsigned>(to);
            l.cuts[side] += t.begins ? 1U : ~0U;
            paths_[side][t.line].set_cut(l.cuts[side] != 0);
        }
        if (l.cut() == before) return;
        if (t.begins) {
            l.cut_at = now_;
            l.awaiting = l.up;
        } else {
            l.cut_ended = now_;
            result_.undetected += l.awaiting[0] + l.awaiting[1];
            l.awaiting = {};
        }
    }

    void count_change() {
        const Time since = now_ - kStart;
        ++result_.path_changes;
        count_in_hour(hour_, since / kHour, result_.most_in_hour);
        if (since < scenario_.warmup) return;
        ++result_.late_changes;
        count_in_hour(late_hour_, (since - scenario_.warmup) / kHour, result_.most_late_in_hour);
    }

    struct Hour {
        Time number = kNever;
        unsigned changes = 0;
    };
    static void count_in_hour(Hour& hour, Time number, unsigned& most) {
        if (hour.number != number) hour = {number, 0};
        most = std::max(most, ++hour.changes);
    }

    const Scenario& scenario_;
    Time now_ = kStart;
    std::vector<LineView> lines_;
    std::array<std::vector<Path>, 2> paths_;  // by the Side that they lead to
    std::vector<Transition> transitions_;
    std::size_t transition_ = 0;
    std::vector<Flight> flights_;  // a heap, the earliest first
    std::vector<Message> messages_;
    std::vector<std::uint32_t> free_;
    std::uint64_t order_ = 0;
    unsigned path_ = kNoPath;
    Time path_lost_ = 0;  // 0: there is one
    Hour hour_;
    Hour late_hour_;
    Result result_;
    std::unique_ptr<Detector> detector_;
};

}  // namespace

void Result::add(const Result& r) {
    downs += r.downs;
    false_downs += r.false_downs;
    false_downs_first += r.false_downs_first;
    detected_ms.insert(detected_ms.end(), r.detected_ms.begin(), r.detected_ms.end());
    undetected += r.undetected;
    path_changes += r.path_changes;
    late_changes += r.late_changes;
    most_in_hour = std::max(most_in_hour, r.most_in_hour);
    most_late_in_hour = std::max(most_late_in_hour, r.most_late_in_hour);
    last_removed += r.last_removed;
    without_path_s += r.without_path_s;
    messages += r.messages;
}

double Result::detection_ms(double p) {
    if (detected_ms.empty()) return 0;
    std::sort(detected_ms.begin(), detected_ms.end());
    const auto rank = static_cast<std::size_t>(std::ceil(p * double(detected_ms.size())));
    return double{detected_ms[std::max<std::size_t>(rank, 1) - 1]};
}

Result simulate_subscriber(const Scenario& scenario, const std::string& detector, unsigned number) {
    return World(scenario, detector, number).run();
}

Result simulate(const Scenario& scenario, const std::string& detector, unsigned jobs) {
    Result whole;
    std::mutex mutex;
    std::exception_ptr error;
    std::atomic<unsigned> next{0};
    const auto work = [&] {
        try {
            for (unsigned n = next++; n < scenario.subscribers(); n = next++) {
                const Result one = simulate_subscriber(scenario, detector, n);
                const std::lock_guard lock(mutex);
                whole.add(one);
            }
        } catch (...) {
            const std::lock_guard lock(mutex);
            error = std::current_exception();
            next = scenario.subscribers();
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 1; i < jobs; ++i) threads.emplace_back(work);
    work();
    for (std::thread& t : threads) t.join();
    if (error) std::rethrow_exception(error);
    return whole;
}

}  // namespace dr::sim

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "tests/sim/detector.h"
#include "tests/sim/path.h"

namespace dr::sim {

namespace {

enum class Bfd : std::uint8_t { Down = 1, Init = 2, Up = 3 };

// RFC 5880 §6.8.3: no faster than this while not Up.
constexpr Time kSlow = kSecond;

struct Session {
    Bfd state = Bfd::Down;
    Time next_tx = 0;
    Time expires = kNever;
};

class Plain final : public Detector {
  public:
    Plain(const Scenario& scenario, Time interval, unsigned multiplier, std::uint64_t seed,
          Time now, Observer& observer)
        : interval_(interval), multiplier_(multiplier), observer_(observer), random_(seed) {
        for (auto& sessions : sessions_) {
            sessions.resize(scenario.lines.size());
            for (Session& s : sessions) {
                s.next_tx = now + static_cast<Time>(random_.uniform() * double{kSlow});
            }
        }
    }

    void receive(Time now, Side at, unsigned line, std::span<const std::uint8_t> bytes) override {
        Session& s = session(at, line);
        const auto theirs = static_cast<Bfd>(bytes[0]);
        // Both ends use the same interval; the peer's slow one counts until it is Up.
        const Time agreed = theirs == Bfd::Up ? interval_ : std::max(interval_, kSlow);
        s.expires = now + agreed * multiplier_;
        if (s.state == Bfd::Up) {
            if (theirs == Bfd::Down) enter(now, at, line, Bfd::Down);
        } else if (theirs == Bfd::Down && s.state == Bfd::Down) {
            enter(now, at, line, Bfd::Init);
        } else if (theirs == Bfd::Init || (theirs == Bfd::Up && s.state == Bfd::Init)) {
            enter(now, at, line, Bfd::Up);
        }
    }

    void run(Time now, Side at) override {
        for (unsigned line = 0; line < sessions_[0].size(); ++line) {
            Session& s = session(at, line);
            if (now >= s.expires) {
                s.expires = kNever;
                enter(now, at, line, Bfd::Down);
            }
            if (now < s.next_tx) continue;
            const auto state = static_cast<std::uint8_t>(s.state);
            observer_.send(at, line, {&state, 1});
            const Time interval = s.state == Bfd::Up ? interval_ : std::max(interval_, kSlow);
            const double jittered =
                (0.75 + 0.25 * random_.uniform()) * static_cast<double>(interval);
            s.next_tx = now + static_cast<Time>(jittered);
        }
    }

    [[nodiscard]] Time deadline(Side at) const override {
        Time first = kNever;
        for (const Session& s : sessions_[static_cast<unsigned>(at)]) {
            first = std::min({first, s.next_tx, s.expires});
        }
        return first;
    }

    [[nodiscard]] unsigned last_removed() const override { return 0; }

  private:
    Session& session(Side at, unsigned line) { return sessions_[static_cast<unsigned>(at)][line]; }

    void enter(Time now, Side at, unsigned line, Bfd state) {
        Session& s = session(at, line);
        const bool was_up = s.state == Bfd::Up;
        s.state = state;
        s.next_tx = now;  // a change is told at once
        const bool up = state == Bfd::Up;
        if (up == was_up) return;
        observer_.state(at, line, up);
        if (at == Side::Dr) choose();
    }

    void choose() {
        const auto& lines = sessions_[0];
        const auto first = std::find_if(lines.begin(), lines.end(),
                                        [](const Session& s) { return s.state == Bfd::Up; });
        observer_.path(first == lines.end() ? kNoPath
                                            : static_cast<unsigned>(first - lines.begin()));
    }

    Time interval_;
    unsigned multiplier_;
    Observer& observer_;
    Random random_;
    std::array<std::vector<Session>, 2> sessions_;
};

}  // namespace

std::unique_ptr<Detector> make_plain(const Scenario& scenario, Time interval, unsigned multiplier,
                                     std::uint64_t seed, Time now, Observer& observer) {
    return std::make_unique<Plain>(scenario, interval, multiplier, seed, now, observer);
}

std::unique_ptr<Detector> make_detector(const std::string& name, const Scenario& scenario,
                                        std::uint64_t seed, Time now, Observer& observer) {
    if (name == "ours") return make_ours(scenario, seed, now, observer);
    const std::size_t dash = name.find('-');
    const std::size_t times = name.find('x', dash == std::string::npos ? 0 : dash);
    unsigned ms = 0;
    unsigned multiplier = 0;
    if (dash != std::string::npos && times != std::string::npos) {
        const char* end = name.data() + name.size();
        const auto a = std::from_chars(name.data() + dash + 1, end, ms);
        const auto b = std::from_chars(name.data() + times + 1, end, multiplier);
        const bool whole = a.ptr == name.data() + times && b.ptr == end;
        if (!whole) ms = 0;
    }
    if (ms == 0 || ms > 60'000 || multiplier == 0 || multiplier > 255) {
        throw ScenarioError(
            fmt::format("detector '{}': expected ours, or NAME-MILLISECONDSxMULTIPLIER, as {}",
                        name, joined(std::span(all_detectors()).subspan(1))));
    }
    return make_plain(scenario, ms * kMillisecond, multiplier, seed, now, observer);
}

const std::vector<std::string>& all_detectors() {
    static const std::vector<std::string> names{"ours", "frr-300x3", "bird-100x5", "plain-1000x3"};
    return names;
}

}  // namespace dr::sim

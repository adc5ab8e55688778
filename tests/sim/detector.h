// Both ends of a subscriber's tunnels, by one detector: the liveness engine or a plain model.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/scenario.h"

namespace dr::sim {

enum class Side : unsigned { Dr = 0, Ur = 1 };
inline constexpr std::array<Side, 2> kSides{Side::Dr, Side::Ur};
constexpr Side other(Side side) {
    return side == Side::Dr ? Side::Ur : Side::Dr;
}
inline constexpr unsigned kNoPath = ~0U;

// What a detector tells. Its functions may be called from inside any of the detector's.
class Observer {
  public:
    virtual ~Observer() = default;
    virtual void send(Side from, unsigned line, std::span<const std::uint8_t> message) = 0;
    // The tunnel has come Up, or has left Up, at this end.
    virtual void state(Side at, unsigned line, bool up) = 0;
    // The line that the DR sends over from now on, or kNoPath.
    virtual void path(unsigned line) = 0;
};

class Detector {
  public:
    virtual ~Detector() = default;
    virtual void receive(Time now, Side at, unsigned line, std::span<const std::uint8_t> bytes) = 0;
    // Does what is due at an end.
    virtual void run(Time now, Side at) = 0;
    // When to call run() next; never earlier than the last run() unless something was received.
    [[nodiscard]] virtual Time deadline(Side at) const = 0;
    // How often the DR had no line to send over while one was Up.
    [[nodiscard]] virtual unsigned last_removed() const = 0;
};

// `seed` differs from subscriber to subscriber.
std::unique_ptr<Detector> make_ours(const Scenario& scenario, std::uint64_t seed, Time now,
                                    Observer& observer);
// BFD's asynchronous mode (RFC 5880 §6.8) with nothing added: one session for each line, the first
// line that is Up carries all, an interval with 0-25 % jitter, down after `multiplier` of them.
std::unique_ptr<Detector> make_plain(const Scenario& scenario, Time interval, unsigned multiplier,
                                     std::uint64_t seed, Time now, Observer& observer);

// "ours", "frr-300x3", "bird-100x5", "plain-1000x3"; in general NAME-MILLISECONDSxMULTIPLIER.
// Throws ScenarioError when the name is none of these.
std::unique_ptr<Detector> make_detector(const std::string& name, const Scenario& scenario,
                                        std::uint64_t seed, Time now, Observer& observer);
const std::vector<std::string>& all_detectors();

}  // namespace dr::sim

// What happens to a packet on one direction of a link: decisions only, no packets, no clock of its
// own, no I/O.
//
// Every random draw is a function of (seed, direction, number of the packet, what it is for), so
// the same packets meet the same fate with the same seed, and switching one impairment on changes
// no decision of another. Frames that only keep the link itself up (ARP, neighbour discovery) are
// not numbered: their moments differ from run to run.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tests/linkem/counters.h"
#include "tests/linkem/packet.h"

namespace dr::linkem {

// Points in time are of one monotonic clock; both in nanoseconds.
using Nanoseconds = std::int64_t;

struct Delay {
    enum class Kind : std::uint8_t { Fixed, Uniform, Normal, Lognormal, Trace };
    Kind kind = Kind::Fixed;
    // Fixed: the delay. Uniform: least and greatest. Normal: mean and standard deviation.
    // Lognormal: median; `spread` is then the standard deviation of the natural logarithm.
    Nanoseconds first = 0;
    Nanoseconds second = 0;
    double spread = 0;
    std::optional<Nanoseconds> most;  // cuts the tail of every kind
    // Trace: one value a packet, or, with an interval, one value each interval; then from the
    // start.
    std::shared_ptr<const std::vector<Nanoseconds>> trace;
    Nanoseconds trace_interval = 0;
};

// Two states, changed before each packet (Gilbert 1960, Elliott 1963).
struct GilbertElliott {
    double enter = 0;  // good to bad
    double leave = 1;  // bad to good
    double loss_good = 0;
    double loss_bad = 1;
};

struct Rate {
    std::uint64_t bits_per_second = 0;  // of Ethernet frames without preamble and FCS
    std::uint64_t queue_bytes = 0;      // a packet that finds no room is dropped
};

struct Reorder {
    double probability = 0;
    Nanoseconds hold = 0;  // beyond the packet's delay; those behind it do not wait
};

struct Mtu {
    std::uint32_t bytes = 0;  // of the IP packet
    bool icmp = true;        // a router: fragments or answers. Without: swallows all that is longer
    bool ignore_df = false;  // fragments IPv4 that has DF, too
};

enum class Cut : std::uint8_t { None, Path, All };  // All: neighbour discovery too
enum class BlackHole : std::uint8_t { None, Keepalives, Data };

struct Impairments {
    Delay delay;
    Nanoseconds jitter = 0;  // uniform within ± this, around the delay
    bool keep_order = true;  // a packet waits for those ahead of it, as in a queue
    std::optional<Reorder> reorder;
    double loss = 0;
    std::optional<GilbertElliott> gilbert_elliott;
    std::optional<Rate> rate;
    std::optional<Mtu> mtu;
    Cut cut = Cut::None;
    BlackHole black_hole = BlackHole::None;
    double duplicate = 0;
};

struct Decision {
    std::optional<Counter> drop;       // its cause; nothing below counts then
    unsigned copies = 1;               // 2: duplicated
    std::array<Nanoseconds, 2> due{};  // when each copy leaves
    bool fragment = false;             // above the MTU, and may be split
};

class Direction {
  public:
    // `number` tells the directions of one link apart.
    Direction(std::uint64_t seed, unsigned number);

    // Takes effect with the next packet; the queue, the loss state and the numbering stay. A trace
    // starts again when the delay is set to another one.
    void configure(const Impairments& impairments, Nanoseconds now);
    const Impairments& impairments() const { return impairments_; }

    // Numbering starts again too, and loss begins in the good state.
    void reseed(std::uint64_t seed);

    // The fate of the next packet; counts it, drops and specialities, but neither received nor
    // sent.
    Decision decide(const Packet& packet, Nanoseconds now);

    // Bytes that wait for the rate limit at this moment.
    std::uint64_t queued_bytes(Nanoseconds now) const;

    Counters counters;

  private:
    enum class Draw : std::uint8_t {
        Loss,
        State,
        BurstLoss,
        Duplicate,
        Delay,
        Delay2,
        Jitter,
        Reorder
    };

    double draw(Draw what) const;  // [0, 1)
    bool happens(Draw what, double probability) const;
    std::optional<Counter> lost(const Packet& packet);
    Nanoseconds delay(Nanoseconds now);
    double distribution_ns();
    Nanoseconds departure(Nanoseconds now);

    std::uint64_t seed_;
    unsigned number_;
    std::uint64_t packet_ = 0;
    Impairments impairments_;
    Nanoseconds trace_begin_ = 0;
    std::uint64_t trace_next_ = 0;
    bool bad_state_ = false;
    Nanoseconds line_free_ = 0;  // when the rate limit has sent all that it took
    Nanoseconds last_due_ = 0;
};

}  // namespace dr::linkem

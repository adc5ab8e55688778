// A link between side a and side b: a frame goes in with the time, and comes out when it is due.
// No I/O and no clock of its own, so that tests run it in virtual time.
//
// The NAT stands at one side, the inside: what comes from there is translated before it is
// impaired, what goes there after it, so a packet in flight meets the mapping of the moment of its
// arrival. An MTU hole is out on the line, yet looks at packets as they came in, so that its ICMP
// errors quote what the sender knows.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "tests/linkem/frame_pool.h"
#include "tests/linkem/impair.h"
#include "tests/linkem/nat.h"

namespace dr::linkem {

enum class Side : std::uint8_t { A, B };

inline Side other(Side side) {
    return side == Side::A ? Side::B : Side::A;
}
inline std::size_t index(Side side) {
    return static_cast<std::size_t>(side);
}

class Link {
  public:
    // `transmit` is told the side that a frame leaves at.
    using Transmit = std::function<void(Side, FrameHandle)>;

    Link(std::uint64_t seed, FramePool& pool, Transmit transmit);

    // The direction that begins at a side.
    Direction& from(Side side) { return directions_[index(side)].decisions; }
    const Direction& from(Side side) const { return directions_[index(side)].decisions; }
    std::size_t in_flight(Side from) const { return directions_[index(from)].queue.size(); }

    // At most one for each address family.
    void set_nats(std::vector<Nat> nats, Side inside);
    std::vector<Nat>& nats() { return nats_; }
    Side nat_inside() const { return nat_inside_; }

    void input(Side from, FrameHandle frame, Nanoseconds now);

    // Transmits what is due at `now`; when the next frame is, if any waits.
    std::optional<Nanoseconds> release(Nanoseconds now);

    // How late frames left, measured at release().
    struct Lateness {
        Nanoseconds greatest = 0;
        std::uint64_t released = 0;
        std::uint64_t over_200us = 0;
    };
    Lateness lateness;

  private:
    struct Waiting {
        Nanoseconds due;
        std::uint64_t order;  // of equal times the earlier goes first
        FrameHandle frame;
    };
    struct Half {
        Direction decisions;
        std::vector<Waiting> queue;  // a heap, the earliest in front
        std::uint64_t order = 0;
    };

    static bool later(const Waiting& x, const Waiting& y);
    void push(Side from, Nanoseconds due, FrameHandle frame);
    void answer_too_big(Side from, const Frame& frame, const Packet& packet);
    void push_fragments(Side from, const Frame& frame, const Packet& packet, Nanoseconds due);
    FrameHandle copy(ConstBytes bytes, Counters& counters);
    bool translate(Side from, Frame& frame, bool outbound);
    void leave(Side from, FrameHandle frame);

    FramePool& pool_;
    Transmit transmit_;
    std::array<Half, 2> directions_;
    std::vector<Nat> nats_;
    Side nat_inside_ = Side::B;
};

}  // namespace dr::linkem

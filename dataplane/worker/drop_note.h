// Notes of dropped packets (dataplane/southbound/drops.h). A worker's own; nothing of it is done
// for a packet that is forwarded.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/worker/exits.h"

struct rte_mbuf;

namespace dr {

struct Context;
struct Packet;

// What limits the notes of each exit.
struct DropNotes {
    std::array<std::uint64_t, kExitCount> turn;  // of the loop, plus 1, that last looked at a clock
    std::array<std::uint64_t, kExitCount> next;  // TSC before which no other is taken
    std::array<std::uint64_t, kExitCount> taken;  // how many were
};

// Of a packet that has been dropped as p.exit, before its buffer is freed: what p.mbuf holds is the
// frame as `port` received it. A packet without buffer, or of our own making, is passed over.
[[gnu::cold, gnu::noinline]] void note_drop(Context& c, unsigned port, const Packet& p);
// Of a frame that `port` did not send; `sent_as`: the exit that it would have taken.
[[gnu::cold, gnu::noinline]] void note_unsent(Context& c, unsigned port, const rte_mbuf& m,
                                              Exit sent_as);

}  // namespace dr

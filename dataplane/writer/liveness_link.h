// What the table writer tells the liveness threads about tunnels with keepalives, and what they
// ask of it. Plain values; dataplane/keepalive/ carries them from thread to thread.
//
// The table writer is the only writer of a subscriber's map and of its tunnels' rows. A liveness
// thread that has chosen other lines, or believes another endpoint, asks it: that costs the wait
// for the transaction being carried out, at most, and there is one place that knows what both
// configuration and keepalives say.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/liveness/engine.h"
#include "dataplane/southbound/protocol.h"
#include "dataplane/tables/types.h"

namespace dr::southbound {

// Lines are numbered as in keepalives.
struct LivePolicy {
    std::uint32_t id{};
    bool gone{};
    std::uint32_t restore_ms{};
    liveness::Policy policy;
};

// A tunnel of the subscriber that has a key and a line in its policy; the key itself is in
// Tables::tunnel_keys.
struct LiveTunnel {
    std::uint32_t id{};  // the GRE key
    std::uint8_t line{};
    liveness::ProfileId profile{};
    Encapsulation encapsulation{};  // as configured
    std::uint16_t mtu{};
    wire::Endpoint peer;  // as configured; not known(): learned
    wire::Endpoint local;
    bool free_ports{};  // GRE-in-UDP: source ports may carry entropy where that passes
};

// All of a subscriber that liveness needs; sent whenever any of it has changed.
struct LiveSubscriber {
    SubscriberIndex index;
    std::uint32_t id{};           // drd's
    std::uint32_t incarnation{};  // another one after it was deleted, whatever its index
    std::uint32_t policy{};
    std::vector<LiveTunnel> tunnels;  // none: forget it
};

// Data and keepalives of a tunnel go to this endpoint from now on, and come from there.
struct BindRequest {
    TunnelId tunnel;
    wire::Endpoint peer;    // not known(): as configured
    bool any_port{};        // the peer's data may come from any port
    bool entropy{};         // ours may
    std::uint16_t mtu{};    // largest inner packet that the path carries; 0: not known
    bool zero_checksums{};  // of UDP in data: packets with them arrive
};

// These lines carry the subscriber's traffic from now on.
struct ChoiceRequest {
    SubscriberIndex index;
    std::uint32_t incarnation{};
    liveness::Choice choice;
};

}  // namespace dr::southbound

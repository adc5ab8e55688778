// Source ports of data in GRE-in-UDP: the flows' own, so that routers on the way spread them, where
// packets from such ports are seen to arrive; else the one port of keepalives (proto/TUNNEL.md
// §12). A firewall that knows only the keepalives' ports lets those pass and nothing else.
#include <algorithm>

#include "dataplane/liveness/core.h"
#include "dataplane/wire/headers.h"

namespace dr::liveness {

namespace {

// On trial: so many probes, each from another port, must be acknowledged before one more than so
// many is not. A path that loses one packet in ten passes.
constexpr unsigned kProbes = 4;
constexpr unsigned kMayBeLost = 2;
// Before the next trial, twice as long each time: after one that failed, and after data was lost.
constexpr Time kFailedHold = 10 * kSecond;
constexpr Time kDoubtHold = 600 * kSecond;
constexpr Time kLongestHold = 3600 * kSecond;
// Data packets of which none has arrived.
constexpr std::uint32_t kSuspicious = 5;

// How long an acknowledgement may take.
constexpr Time kLeastGap = 60 * kMillisecond;
constexpr Time kMostGap = kSecond;
constexpr Time kUnknownGap = 200 * kMillisecond;  // while no round trip is known

}  // namespace

Time Core::answer_gap(const TunnelExtra& x) {
    if (x.smoothed.srtt == 0) return kUnknownGap;
    const Time gap = (2 * Time{x.smoothed.srtt} + 4 * Time{x.smoothed.jitter}) * kMicrosecond;
    return std::clamp(gap, kLeastGap, kMostGap);
}

// The peer's address, and a port that is not its endpoint's.
bool Core::other_port(const Tunnel& t, const Endpoint& source) {
    return source.port != 0 && t.peer.port != 0 && source.port != t.peer.port &&
           source.family == t.peer.family && source.address == t.peer.address;
}

bool Core::tries_ports(const Tunnel& t) {
    return t.free_ports && t.state == State::Up && t.no_nat && !t.native && !t.degraded &&
           t.peer.port != 0;
}

void Core::check_ports(Time now, std::uint32_t i) {
    const Tunnel& t = tunnels_[i];
    if (!t.free_ports) return;
    TunnelExtra::Ports& p = extras_[i].ports;
    if (!tries_ports(t)) {
        p.passed = p.lost = 0;
        p.token = 0;
        return use_ports(now, i, false);
    }
    if (t.flow_ports || now < p.next) return;
    if (p.token != 0 && ++p.lost > kMayBeLost) return hold_ports(now, i, kFailedHold);
    p.token = new_token();
    p.next = now + answer_gap(extras_[i]);
    Message m;
    m.type = wire::MessageType::Probe;
    m.token = p.token;
    m.probe_size = wire::kTokenSize;
    const auto port = static_cast<std::uint16_t>(wire::kEntropyPortBase |
                                                 (host_.random() & wire::kEntropyPortMask));
    send(i, m, t.peer, port);
}

void Core::ports_answered(Time now, std::uint32_t i, const Message& m) {
    TunnelExtra::Ports& p = extras_[i].ports;
    if (p.token == 0 || m.token != p.token) return;
    p.token = 0;
    p.next = now;
    if (++p.passed < kProbes || !tries_ports(tunnels_[i])) return;
    p.passed = p.lost = 0;
    p.asked_at = 0;
    use_ports(now, i, true);
}

void Core::hold_ports(Time now, std::uint32_t i, Time first) {
    TunnelExtra::Ports& p = extras_[i].ports;
    p.hold = std::min(std::max(2 * p.hold, first), kLongestHold);
    p.next = now + p.hold;
    p.passed = p.lost = 0;
    p.token = 0;
}

void Core::use_ports(Time now, std::uint32_t i, bool free) {
    Tunnel& t = tunnels_[i];
    if (t.flow_ports == free) return;
    t.flow_ports = free;
    Event event = event_of(EventKind::FlowPorts, now, i);
    event.value = free ? 1 : 0;
    emit(event);
}

// The peer's count of data received stands still although a round trip ago some had been sent: back
// to the port that is known to pass, sooner than the peer takes the line for one that loses data.
void Core::doubt_ports(Time now, std::uint32_t i, const Message& m) {
    if (!tunnels_[i].flow_ports) return;
    TunnelExtra& x = extras_[i];
    TunnelExtra::Ports& p = x.ports;
    const auto sent = static_cast<std::uint32_t>(host_.data_counters({i}).sent);
    if (p.asked_at == 0 || m.data_received != p.received) {
        p.received = m.data_received;
        p.silent = p.asked = sent;
        p.asked_at = now;
        return;
    }
    if (now < p.asked_at + answer_gap(x)) return;
    if (p.asked - p.silent < kSuspicious) {
        p.asked = sent;
        p.asked_at = now;
        return;
    }
    hold_ports(now, i, kDoubtHold);
    use_ports(now, i, false);
}

}  // namespace dr::liveness

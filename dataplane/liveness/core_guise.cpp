// In what guise data goes out in GRE-in-UDP (proto/TUNNEL.md §12). Source ports: the flows' own, so
// that routers on the way spread them, where packets from such ports are seen to arrive; else the
// one port of keepalives, because a firewall may know only that. UDP checksums: 0, which costs
// nothing, where packets with 0 are seen to arrive; else right ones, as keepalives have them.
#include <algorithm>

#include "dataplane/liveness/core.h"
#include "dataplane/wire/headers.h"

namespace dr::liveness {

namespace {

// Before the next trial, twice as long each time: after one that failed, and after data from the
// flows' ports was lost.
// A path that loses one packet in ten passes.
constexpr Passage::Rules kGuiseRules{4, 2, 10 * kSecond, false};
constexpr Time kDoubtHold = 600 * kSecond;
// Data packets of which none has arrived.
constexpr std::uint32_t kSuspicious = 5;

// How long an acknowledgement may take.
constexpr Time kLeastGap = 60 * kMillisecond;
constexpr Time kMostGap = kSecond;
constexpr Time kUnknownGap = 200 * kMillisecond;  // while no round trip is known

// What was sent until now has arrived, as far as anybody knows.
void begin_doubt(TunnelExtra& x) {
    x.doubt.asked_at = 0;
    x.doubt.arrives = true;
}

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

void Core::send_guised(TunnelRef i, std::uint64_t token, std::uint16_t port) {
    const Tunnel& t = tunnels_[i];
    Message m;
    m.type = wire::MessageType::Probe;
    m.token = token;
    m.probe_size = wire::kTokenSize;
    // Checksums are as the data's of this moment, or on trial themselves.
    const bool zero = port == 0 || !t.any_sums || t.zero_sums;
    const Guise guise{port, zero};
    send(i, m, t.peer, &guise);
}

bool Core::tries_ports(const Tunnel& t) {
    return t.free_ports && t.state == State::Up && t.no_nat && !t.native && !t.degraded &&
           t.peer.port != 0;
}

void Core::check_ports(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    if (!t.free_ports) return;
    TunnelExtra& x = extras_[i];
    if (!tries_ports(t)) {
        x.ports.stop();
        return use_ports(now, i, false);
    }
    if (t.flow_ports || now < x.ports.next) return;
    if (!x.ports.probe(now, answer_gap(x), new_token(), kGuiseRules)) return;
    const std::uint64_t spread = host_.random() & wire::kEntropyPortMask;
    send_guised(i, x.ports.token, static_cast<std::uint16_t>(wire::kEntropyPortBase | spread));
}

void Core::ports_answered(Time now, TunnelRef i, const Message& m) {
    if (!extras_[i].ports.answered(now, m.token, kGuiseRules) || !tries_ports(tunnels_[i])) return;
    begin_doubt(extras_[i]);
    use_ports(now, i, true);
}

void Core::use_ports(Time now, TunnelRef i, bool free) {
    Tunnel& t = tunnels_[i];
    if (t.flow_ports == free) return;
    t.flow_ports = free;
    Event event = event_of(EventKind::FlowPorts, now, i);
    event.value = free ? 1 : 0;
    emit(event);
}

bool Core::tries_sums(const Tunnel& t) {
    return t.any_sums && t.state == State::Up && !t.native && !t.degraded && t.peer.port != 0;
}

void Core::check_sums(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    if (!t.any_sums) return;
    TunnelExtra& x = extras_[i];
    if (!tries_sums(t)) {
        x.zero_sums.stop();
        return use_sums(i, false);
    }
    if (t.zero_sums || now < x.zero_sums.next) return;
    if (x.zero_sums.probe(now, answer_gap(x), new_token(), kGuiseRules))
        return send_guised(i, x.zero_sums.token, 0);
    tell_sums(now, i, true);
}

void Core::sums_answered(Time now, TunnelRef i, const Message& m) {
    if (!extras_[i].zero_sums.answered(now, m.token, kGuiseRules) || !tries_sums(tunnels_[i]))
        return;
    begin_doubt(extras_[i]);
    tell_sums(now, i, false);
    use_sums(i, true);
}

void Core::use_sums(TunnelRef i, bool zero) {
    Tunnel& t = tunnels_[i];
    if (t.zero_sums == zero) return;
    t.zero_sums = zero;
    host_.zero_checksums(i, zero);
}

void Core::tell_sums(Time now, TunnelRef i, bool fail) {
    Tunnel& t = tunnels_[i];
    if (t.sums_told == fail) return;
    t.sums_told = fail;
    Event event = event_of(EventKind::Checksums, now, i);
    event.value = fail ? 1 : 0;
    emit(event);
}

// With each keepalive that is sent, when this end's data is counted anyway.
void Core::count_guise(Time now, TunnelRef i) {
    TunnelExtra::Doubt& d = extras_[i].doubt;
    if (d.asked_at != 0) return;
    d.asked = tunnels_[i].told_sent;
    if (d.arrives) d.silent = d.asked;
    d.arrives = false;
    d.asked_at = now;
}

// The peer's count of data received stands still although a round trip ago some had been sent: back
// to what is known to pass, sooner than the peer takes the line for one that loses data.
void Core::doubt_guise(Time now, TunnelRef i, const Message& m) {
    const Tunnel& t = tunnels_[i];
    if (!t.flow_ports && !t.zero_sums) return;
    TunnelExtra& x = extras_[i];
    TunnelExtra::Doubt& d = x.doubt;
    if (m.data_received != d.received) {
        d.received = m.data_received;
        d.arrives = true;
        d.asked_at = 0;
        return;
    }
    if (d.asked_at == 0 || now < d.asked_at + answer_gap(x)) return;
    if (d.asked - d.silent < kSuspicious) {
        d.asked_at = 0;
        return;
    }
    if (t.flow_ports) x.ports.rest(now, kDoubtHold);
    use_ports(now, i, false);
    // Which of both it is, the next probes tell, and soon: right checksums cost both ends time.
    if (t.zero_sums) x.zero_sums.rest(now, kGuiseRules.first_hold);
    use_sums(i, false);
}

}  // namespace dr::liveness

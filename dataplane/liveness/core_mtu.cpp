// Path MTU discovery: probes of the sizes that PathMtu asks for, and what follows from their
// acknowledgements (proto/TUNNEL.md §15).
#include <algorithm>

#include "dataplane/liveness/core.h"
#include "dataplane/wire/headers.h"

namespace dr::liveness {

namespace {

// A change of the peer's costs the host work. What it says in between is in its later keepalives
// too.
constexpr Time kPeerGap = 200 * kMillisecond;
// A line that lost data so shortly before its MTU was found too large did so because of that.
constexpr Time kExplains = 10 * kSecond;
constexpr Time kSettles = 200 * kMillisecond;

std::uint16_t overhead_of(const Endpoint& to) {
    const unsigned ip = to.family == 6 ? sizeof(wire::Ipv6) : sizeof(wire::Ipv4);
    const unsigned udp = to.port != 0 ? sizeof(wire::Udp) : 0;
    return static_cast<std::uint16_t>(ip + udp + sizeof(wire::GreKey));
}

}  // namespace

std::uint64_t Core::new_token() {
    std::uint64_t token = 0;
    while (token == 0) token = host_.random();
    return token;
}

void Core::search_mtu(Time now, TunnelRef i) {
    extras_[i].mtu.search(now, new_token(), overhead_of(way(tunnels_[i])));
    settle_mtu(now, i);
}

// Something larger than a keepalive may not have passed.
void Core::doubt_mtu(Time now, TunnelRef i) {
    if (tunnels_[i].state != State::Up) return;
    extras_[i].mtu.confirm(now, new_token(), overhead_of(way(tunnels_[i])));
    extras_[i].mtu_due = extras_[i].mtu.next();
}

void Core::mtu_hint(Time now, TunnelRef tunnel, std::uint16_t mtu) {
    if (!valid(tunnel) || tunnels_[tunnel].state != State::Up) return;
    const TunnelRef i = tunnel;
    extras_[i].mtu.hint(now, new_token(), overhead_of(way(tunnels_[i])), mtu);
    extras_[i].mtu_due = extras_[i].mtu.next();
    schedule(now, i);
}

void Core::check_mtu(Time now, TunnelRef i) {
    TunnelExtra& x = extras_[i];
    if (tunnels_[i].state != State::Up || now < x.mtu_due) return;
    if (x.mtu.wants_search(now)) search_mtu(now, i);
    const bool full = tunnels_[i].congested || x.peer_diagnostic == Diagnostic::Congested ||
                      x.capacity.queues(x.smoothed);
    for (const std::uint16_t size : x.mtu.due(now, answer_gap(x), full)) {
        Message m;
        m.type = wire::MessageType::Probe;
        m.token = x.mtu.token();
        m.probe_size = size;
        send(i, m, way(tunnels_[i]));
    }
    settle_mtu(now, i);
}

void Core::mtu_acknowledged(Time now, TunnelRef i, const Message& m) {
    TunnelExtra& x = extras_[i];
    if (x.mtu.token() == 0 || m.token != x.mtu.token()) return;
    x.mtu.acknowledged(now, m.probe_size);
    settle_mtu(now, i);
}

void Core::take_peer_mtu(Time now, TunnelRef i, std::uint16_t mtu) {
    TunnelExtra& x = extras_[i];
    if (mtu != 0) mtu = std::max(mtu, PathMtu::kFloor);
    if (mtu == x.peer_path_mtu || now < x.peer_mtu_at + kPeerGap) return;
    x.peer_mtu_at = now;
    const bool smaller = mtu != 0 && mtu < x.peer_path_mtu;
    x.peer_path_mtu = mtu;
    if (smaller) explain_loss(now, i);
    settle_mtu(now, i);
}

// What both directions carry: a host's segments are as large as its peer's SYN says, whichever way
// they go.
void Core::settle_mtu(Time now, TunnelRef i) {
    TunnelExtra& x = extras_[i];
    x.mtu_due = x.mtu.next();
    if (x.mtu.take_shrunk()) explain_loss(now, i);
    if (x.mtu.size() != x.told_mtu) {
        x.told_mtu = x.mtu.size();
        send_soon(now, i);
    }
    std::uint16_t both = x.mtu.size();
    if (both != 0 && x.peer_path_mtu != 0) both = std::min(both, x.peer_path_mtu);
    if (both == x.path_mtu) return;
    x.path_mtu = both;
    if (both == 0) return;
    host_.path_mtu(i, both);
    Event event = event_of(EventKind::PathMtu, now, i);
    event.value = both;
    emit(event);
}

// Notes of lost data that were sent before the peer knew of the smaller size say nothing new.
Time Core::explained_until(const TunnelExtra& x) {
    const Time smaller = std::max(x.mtu.since(), x.peer_mtu_at);
    return smaller + 2 * Time{x.smoothed.srtt} * kMicrosecond + kSettles;
}

// Data was lost because it was too large, and is not any more: that is no reason to stay away.
void Core::explain_loss(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    x.data_silent_since = 0;
    x.silent_sent = 0;
    x.bad_seconds = 0;
    if (!t.degraded || now > x.restore.flap_at + kExplains) return;
    t.degraded = false;
    x.data_note_until = 0;
    x.restore.forgive(config_.tuning, now);
    Group& g = groups_[t.group];
    if (g.losing == t.line + 1) g.losing = 0;
    choose(now, t.group);
}

}  // namespace dr::liveness

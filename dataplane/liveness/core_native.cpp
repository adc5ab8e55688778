// Automatic tunnels: GRE-in-UDP that becomes native GRE while that passes, and goes back before the
// tunnel is down (proto/TUNNEL.md §12). The UR tries and decides; the DR does as it is told.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {

// On trial: three probes in a row, so far apart that no two seconds of five lack more than one.
constexpr Passage::Rules kRules{3, 0, 10 * kSecond, true};
constexpr Time kGap = 3 * kSecond;
// The outer packet of a probe: the least that a tunnel's MTU may be.
constexpr std::uint16_t kOuterSize = 1280;
// Native GRE that was in use for so long has failed for the first time.
constexpr Time kProven = 600 * kSecond;

constexpr std::uint16_t probe_size(const Endpoint& to) {
    return static_cast<std::uint16_t>(kOuterSize - (to.family == 6 ? 40 : 20) - 8);
}

Endpoint native_of(Endpoint peer) {
    peer.port = 0;
    return peer;
}

}  // namespace

Endpoint Core::way(const Tunnel& t) {
    return t.native ? native_of(t.peer) : t.peer;
}

bool Core::is_peer(const Tunnel& t, const Endpoint& source) {
    return source == t.peer || (t.automatic && t.peer.known() && source == native_of(t.peer));
}

bool Core::tries_native(const Tunnel& t) const {
    return t.automatic && !t.native && config_.role == Role::UserRouter && t.state == State::Up &&
           t.no_nat && !t.suspect_rx && !t.suspect_tx && !t.degraded && t.peer.port != 0;
}

void Core::check_native(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    if (!t.automatic) return;
    Passage& trial = extras_[i].native;
    if (!tries_native(t)) return trial.stop();
    if (now < trial.next || !trial.probe(now, kGap, new_token(), kRules)) return;
    const Endpoint to = native_of(t.peer);
    Message m;
    m.type = wire::MessageType::Probe;
    m.token = trial.token;
    m.probe_size = probe_size(to);
    send(i, m, to);
}

void Core::native_answered(Time now, TunnelRef i, const Message& m) {
    TunnelExtra& x = extras_[i];
    if (!x.native.answered(now, m.token, kRules) || !tries_native(tunnels_[i])) return;
    x.native_since = now;
    use_native(now, i, true);
}

void Core::use_native(Time now, TunnelRef i, bool native) {
    Tunnel& t = tunnels_[i];
    if (t.native == native) return;
    t.native = native;
    host_.bind(i, way(t));
    search_mtu(now, i);
    Event event = event_of(EventKind::Encapsulation, now, i);
    event.value = native ? 1 : 0;
    emit(event);
    send_soon(now, i);
}

void Core::leave_native(Time now, TunnelRef i, Leaving why) {
    if (!tunnels_[i].native) return;
    Passage& trial = extras_[i].native;
    if (now >= extras_[i].native_since + kProven) trial.hold = 0;
    if (why == Leaving::LosesData) trial.hold = Passage::kLongestHold;
    if (why != Leaving::Told) trial.rest(now, kRules.first_hold);
    use_native(now, i, false);
}

}  // namespace dr::liveness

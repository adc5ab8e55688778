// Paths that answer keepalives and lose data.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {
// How long the peer is told that some of its data did not arrive: two keepalives of a slow line.
constexpr Time kMissingNote = kSecond;
}  // namespace

// The receiver compares: the peer's count of data sent, in its keepalive, and what has arrived here
// when the keepalive does. Both took the same path, so nothing is "in flight" between them.
void Core::check_data(Time now, std::uint32_t i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    if (t.state != State::Up) return;
    const bool first = x.data_since == 0;
    if (!first &&
        (x.data_messages < 2 || now < x.data_since + Time{k.data_window_us} * kMicrosecond)) {
        return;
    }
    const auto here = static_cast<std::uint32_t>(host_.data_counters({i}).received);
    const std::uint32_t sent = m.data_sent - t.data_sent;
    const std::uint32_t got = here - t.data_received;
    const std::uint64_t expected = m.counter - x.data_counter;
    // A window in which keepalives were lost as well says nothing of data alone.
    const bool sound = !first && expected < 2 * std::uint64_t{x.data_messages};
    const Time began = x.data_since;
    t.data_sent = m.data_sent;
    t.data_received = here;
    x.data_since = now;
    x.data_counter = m.counter;
    x.data_messages = 0;
    if (!sound || got != 0) {
        x.data_silent_since = 0;
        x.silent_sent = 0;
    }
    if (!sound) return;
    if (sent > got) {
        x.missing_note_until = now + kMissingNote;
        doubt_mtu(now, i);
    }
    if (got == 0 && sent != 0) {
        if (x.data_silent_since == 0) x.data_silent_since = began;
        x.silent_sent += std::min(sent, 0xffffU);
        if (x.silent_sent >= k.data_packets &&
            now >= x.data_silent_since + Time{k.data_hole_us} * kMicrosecond) {
            x.data_silent_since = 0;
            x.silent_sent = 0;
            degrade(now, i, true);
            return;
        }
    }
    check_data_second(now, i, sent, got);
}

void Core::check_data_second(Time now, std::uint32_t i, std::uint32_t sent,
                             std::uint32_t received) {
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    if (now > x.data_second + 2 * kSecond) {
        x.data_second = now;
        x.second_sent = x.second_received = 0;
        x.bad_seconds = 0;
    }
    x.second_sent += sent;
    x.second_received += received;
    if (now < x.data_second + kSecond) return;
    const bool bad = x.second_sent >= k.data_packets && x.second_received < x.second_sent &&
                     std::uint64_t{x.second_sent - x.second_received} * 1000 >
                         std::uint64_t{x.second_sent} * k.data_loss_permille;
    x.bad_seconds = static_cast<std::uint8_t>(bad ? x.bad_seconds + 1 : 0);
    x.data_second = now;
    x.second_sent = x.second_received = 0;
    if (x.bad_seconds >= 2) {
        x.bad_seconds = 0;
        degrade(now, i, true);
    }
}

// Not eligible until its wait is over: with the traffic gone, nothing else can tell whether data
// passes again. If it does not, it comes back here, and the next wait is longer.
void Core::degrade(Time now, std::uint32_t i, bool tell_peer) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    if (tell_peer) {
        x.data_note_until = now + Time{config_.tuning.data_note_us} * kMicrosecond;
        send_soon(now, i);
    }
    trouble(now, i);
    if (config_.role == Role::UserRouter) leave_native(now, i, Leaving::LosesData);
    Group& g = groups_[t.group];
    const bool other = g.losing != t.line + 1;
    g.losing = static_cast<std::uint8_t>(t.line + 1);
    if (t.degraded) {
        // In use all the same: one of the others, found out longer ago, may pass data again.
        if (other) choose(now, t.group);
        return;
    }
    t.degraded = true;
    x.restore.flap(config_.tuning, groups_[t.group].restore_us, now);
    if (t.active) override_waits(now, t.group, static_cast<std::uint16_t>(1U << t.line));
    Event event = event_of(EventKind::Degraded, now, i);
    event.cause = Cause::DataLost;
    emit(event);
    choose(now, t.group);
}

}  // namespace dr::liveness

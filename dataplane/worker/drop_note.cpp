// Notes of dropped packets, for people who ask whose they were: the frame's head in the drops
// memfd, at most one of an exit in a millisecond, and a count for the tunnel. Only packets that are
// dropped come here.
#include "dataplane/worker/drop_note.h"

#include <algorithm>

#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

namespace {

using southbound::DropSample;
using southbound::DropState;
using southbound::TunnelDrops;

std::uint32_t key_of(const TunnelRow* row) {
    return row == nullptr ? 0 : wire::load32(row->key());
}

// A turn of the loop before the clock: a flood pays for one look at a clock in many packets.
bool due(Context& c, Exit exit, std::uint64_t* now) {
    const auto e = static_cast<std::size_t>(exit);
    DropNotes& notes = c.drop_notes;
    const std::uint64_t turn = c.block->worker.turns + 1;
    if (notes.turn[e] == turn) return false;
    notes.turn[e] = turn;
    *now = rte_rdtsc();
    if (*now < notes.next[e]) return false;
    notes.next[e] = *now + c.tsc_hz / 1'000;
    return true;
}

void write(Context& c, Exit exit, const DropState& state) {
    const auto e = static_cast<std::size_t>(exit);
    const std::uint64_t number = c.drop_notes.taken[e]++;
    DropSample& sample =
        c.config.drops.samples[e * southbound::kDropSamples + number % southbound::kDropSamples];
    southbound::write_sample(sample, number, state);
}

DropState state_of(const rte_mbuf& m, unsigned port) {
    DropState state{};
    state.length = static_cast<std::uint16_t>(std::min<std::uint32_t>(m.pkt_len, 0xffff));
    state.port = static_cast<std::uint8_t>(port);
    state.head = static_cast<std::uint8_t>(std::min<std::size_t>(m.data_len, state.frame.size()));
    std::memcpy(state.frame.data(), rte_pktmbuf_mtod(&m, const std::uint8_t*), state.head);
    return state;
}

void count_of_tunnel(Context& c, std::uint32_t key, Exit exit) {
    TunnelDrops& drops = c.config.drops.tunnels[TunnelId{key}.slot()];
    const std::uint64_t tag = static_cast<std::uint64_t>(exit) << TunnelDrops::kExitShift;
    for (std::uint64_t& reason : drops.reason) {
        const std::uint64_t now = reason;
        if (now != 0 && (now & ~TunnelDrops::kCountMask) != tag) continue;
        __atomic_store_n(&reason, (now | tag) + 1, __ATOMIC_RELAXED);
        return;
    }
    count_up(drops.others);
}

// Of a frame that this worker has made: the key of the tunnel that it goes into.
std::uint32_t sent_key(const rte_mbuf& m) {
    const auto* ip = rte_pktmbuf_mtod(&m, const std::uint8_t*) + sizeof(wire::Ethernet);
    const bool v4 = ip[0] >> 4 == 4;
    const bool udp = ip[v4 ? 9 : 6] == wire::kProtoUdp;
    const unsigned header = (v4 ? 20U : 40U) + (udp ? 8U : 0U) + sizeof(wire::GreKey);
    return sizeof(wire::Ethernet) + header <= m.data_len ? wire::load32(ip + header - 4) : 0;
}

}  // namespace

void note_drop(Context& c, unsigned port, const Packet& p) {
    if (c.config.drops.samples == nullptr || p.mbuf == nullptr || !is_drop(p.exit) ||
        (p.flags & Packet::kOwn) != 0)
        return;
    // The row that a stale key leads to is another tunnel's.
    const std::uint32_t from = p.exit == Exit::DropStaleGeneration ? 0 : key_of(p.from);
    const std::uint32_t into = key_of(p.tunnel);
    if ((from | into) != 0) count_of_tunnel(c, into != 0 ? into : from, p.exit);
    std::uint64_t now = 0;
    if (!due(c, p.exit, &now)) return;
    DropState state = state_of(*p.mbuf, port);
    state.tsc = now;
    state.from = from;
    state.into = into;
    write(c, p.exit, state);
}

void note_unsent(Context& c, unsigned port, const rte_mbuf& m, Exit sent_as) {
    if (c.config.drops.samples == nullptr) return;
    const bool tunnel = sent_as == Exit::ForwardedDownlink || sent_as == Exit::ForwardedHairpin;
    const std::uint32_t into = tunnel ? sent_key(m) : 0;
    if (into != 0) count_of_tunnel(c, into, Exit::DropTransmit);
    std::uint64_t now = 0;
    if (!due(c, Exit::DropTransmit, &now)) return;
    DropState state = state_of(m, port);
    state.tsc = now;
    state.into = into;
    state.flags = DropState::kLeaving;
    write(c, Exit::DropTransmit, state);
}

}  // namespace dr

// Last stage: packets leave in the order in which they came, each followed by what it gave birth
// to.
// Exits: drop.transmit.
#include "dataplane/worker/context.h"

namespace dr {

namespace {

// A full queue is tried again a few times before the rest is dropped: software ports drain slowly.
constexpr unsigned kAttempts = 8;

// A queue has few kinds of exits, mostly one: each run of equal ones is counted once.
void count_exits(Context& c, const std::uint8_t* exits, unsigned count) {
    for (unsigned first = 0; first < count;) {
        unsigned end = first + 1;
        while (end < count && exits[end] == exits[first]) ++end;
        if (exits[first] != kNoExit) count_up(c.block->exits[exits[first]], end - first);
        first = end;
    }
}

void flush(Context& c, unsigned port) {
    TxQueue& q = c.tx[port];
    unsigned sent = 0;
    const bool paused = c.shared->paused[port].load(std::memory_order_acquire);
    const unsigned attempts = paused ? 0 : kAttempts;
    for (unsigned attempt = 0; sent < q.count && attempt < attempts; ++attempt)
        sent = sent + rte_eth_tx_burst((*c.ports)[port].ethdev, c.config.tx_queue,
                                       q.mbufs.data() + sent,
                                       static_cast<std::uint16_t>(q.count - sent));
    count_exits(c, q.exits.data(), sent);
    for (unsigned i = sent; i < q.count; ++i) {
        if (q.exits[i] != kNoExit) {
            count_exit(c, Exit::DropTransmit);
            note_unsent(c, port, *q.mbufs[i], static_cast<Exit>(q.exits[i]));
        }
        q.bytes -= q.mbufs[i]->pkt_len;
        rte_pktmbuf_free(q.mbufs[i]);
    }
    count_up(c.block->ports[port].tx_packets, sent);
    count_up(c.block->ports[port].tx_bytes, q.bytes);
    q.count = 0;
    q.bytes = 0;
}

void push(Context& c, unsigned port, rte_mbuf* m, std::uint8_t exit) {
    TxQueue& q = c.tx[port];
    if (q.count == TxQueue::kSize) flush(c, port);
    q.mbufs[q.count] = m;
    q.exits[q.count++] = exit;
    q.bytes += m->pkt_len;
}

void send(Context& c, Burst& b, Packet& p) {
    const bool own = (p.flags & Packet::kOwn) != 0;
    push(c, p.out_port, p.mbuf, own ? kNoExit : static_cast<std::uint8_t>(p.exit));
    for (unsigned e = p.extra; e < p.extra + static_cast<unsigned>(p.extras); ++e)
        push(c, p.out_port, b.extra[e], kNoExit);
}

// Everything about one packet that is not simply sent.
[[gnu::noinline]] void finish_careful(Context& c, Burst& b, Packet& p, Burst& replies) {
    if ((p.flags & Packet::kLive) != 0) {
        send(c, b, p);
    } else {
        note_drop(c, b.in_port, p);
        rte_pktmbuf_free(p.mbuf);  // null when it was handed over
    }
    if (p.reply == 0) return;
    Packet& r = replies.packets[p.reply - 1U];
    if ((r.flags & Packet::kLive) != 0)
        send(c, replies, r);
    else
        rte_pktmbuf_free(r.mbuf);
}

// Sent, in order, all out of one port, as most bursts are: from packet `i` on while that holds.
unsigned send_run(Context& c, const Burst& b, unsigned i) {
    const unsigned port = b.packets[i].out_port;
    TxQueue& q = c.tx[port];
    if (q.count + kBurst > TxQueue::kSize) flush(c, port);
    unsigned n = q.count;
    std::uint64_t bytes = 0;
    for (; i < b.count; ++i) {
        const Packet& p = b.packets[i];
        const bool plain = (p.flags & (Packet::kLive | Packet::kOwn)) == Packet::kLive &&
                           p.extras == 0 && p.reply == 0 && p.out_port == port;
        if (!plain) break;
        bytes += p.mbuf->pkt_len;
        q.mbufs[n] = p.mbuf;
        q.exits[n++] = static_cast<std::uint8_t>(p.exit);
    }
    q.count = n;
    q.bytes += bytes;
    return i;
}

}  // namespace

void stage_transmit(Context& c, Burst& b, Burst& replies) {
    for (unsigned i = 0; i < b.count;) {
        const unsigned next = (b.packets[i].flags & Packet::kLive) != 0 ? send_run(c, b, i) : i;
        if (next == i) finish_careful(c, b, b.packets[i], replies);
        i = next == i ? i + 1 : next;
    }
    for (unsigned port = 0; port < c.ports->size(); ++port)
        if (c.tx[port].count != 0) flush(c, port);
}

}  // namespace dr

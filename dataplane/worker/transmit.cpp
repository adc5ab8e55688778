// Last stage: packets leave in the order in which they came, each followed by what it gave birth
// to.
#include "dataplane/worker/context.h"

namespace dr {

namespace {

// A full queue is tried again a few times before the rest is dropped: software ports drain slowly.
constexpr unsigned kAttempts = 8;

void flush(Context& c, unsigned port) {
    TxQueue& q = c.tx[port];
    unsigned sent = 0;
    for (unsigned attempt = 0; sent < q.count && attempt < kAttempts; ++attempt)
        sent = sent + rte_eth_tx_burst((*c.ports)[port].ethdev, c.config.tx_queue,
                                       q.mbufs.data() + sent,
                                       static_cast<std::uint16_t>(q.count - sent));
    for (unsigned i = 0; i < sent; ++i)
        if (q.exits[i] != kNoExit) count_exit(c, static_cast<Exit>(q.exits[i]));
    for (unsigned i = sent; i < q.count; ++i) {
        if (q.exits[i] != kNoExit) count_exit(c, Exit::DropTransmit);
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

}  // namespace

void stage_transmit(Context& c, Burst& b, Burst& replies) {
    for (unsigned i = 0; i < b.count; ++i) {
        Packet& p = b.packets[i];
        if ((p.flags & Packet::kLive) != 0) [[likely]] {
            send(c, b, p);
        } else {
            rte_pktmbuf_free(p.mbuf);  // null when it was handed over
        }
        if (p.reply != 0) [[unlikely]] {
            Packet& r = replies.packets[p.reply - 1U];
            if ((r.flags & Packet::kLive) != 0)
                send(c, replies, r);
            else
                rte_pktmbuf_free(r.mbuf);
        }
    }
    for (unsigned port = 0; port < c.ports->size(); ++port)
        if (c.tx[port].count != 0) flush(c, port);
}

}  // namespace dr

// Judges from samples of rings and counters whether a queue lives.
#include "dataplane/ports/port_judge.h"

#include <algorithm>

namespace dr {

using southbound::Fault;

bool QueueJudge::lasts(Since& since, bool holds, std::uint64_t now_ms, std::uint64_t limit_ms) {
    if (!holds) since.reset();
    if (holds && !since) since = now_ms;
    return since && now_ms - *since >= limit_ms;
}

Fault QueueJudge::look(std::uint64_t now_ms, const XskRings::Sample& sample, std::uint64_t arrived,
                       bool zero_copy, bool running) {
    const XskRings::Sample before = seen_ ? before_ : sample;
    const std::uint64_t came = seen_ ? arrived - arrived_ : 0;
    seen_ = true;
    before_ = sample;
    arrived_ = arrived;

    const bool received = sample.rx.produced != before.rx.produced;
    const std::uint64_t dropped = sample.dropped - before.dropped;
    missed_ = dropped;
    const std::uint64_t starved = sample.found_fill_empty - before.found_fill_empty;
    // The kernel's count of drops includes those for lack of a buffer. The other drops have other
    // reasons (too long), and do not indicate a dead queue.
    const std::uint64_t excused = dropped - std::min(dropped, starved);
    const bool alive = received || sample.rx.waiting() != 0;
    lost_ =
        alive ? 0 : lost_ + static_cast<std::int64_t>(came) - static_cast<std::int64_t>(excused);

    const bool empty = sample.fill.waiting() == 0 && sample.rx.waiting() == 0;
    // A NIC's driver may hold all of the buffers, waiting for packets.
    if (lasts(dry_since_, empty && !zero_copy && !received, now_ms, kDryMs))
        return Fault::FillRingEmpty;
    if (lasts(deaf_since_, lost_ > 0, now_ms, kDeafMs))
        return empty ? Fault::FillRingEmpty : Fault::NothingReceived;

    const bool unread = sample.rx.waiting() != 0 && sample.rx.consumed == before.rx.consumed;
    if (lasts(unread_since_, unread, now_ms, kStuckMs)) return Fault::NotRead;
    const bool unsent =
        running && sample.tx.waiting() != 0 && sample.tx.consumed == before.tx.consumed;
    if (lasts(tx_since_, unsent, now_ms, kStuckMs)) return Fault::NothingSent;
    return Fault::None;
}

}  // namespace dr

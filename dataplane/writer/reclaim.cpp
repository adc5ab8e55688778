// What the table writer does between transactions: giving back what outlived its grace period, and
// keeping the next hops of tunnels up to date.
#include <algorithm>

#include "dataplane/writer/tunnel_row.h"
#include "dataplane/writer/writer_core.h"

namespace dr::southbound {

void TableWriter::Core::reclaim() {
    if (!batches.empty()) {
        const Qsbr::Token safe = tables.qsbr.safe();
        while (!batches.empty() && batches.front().token <= safe) {
            free_batch(batches.front());
            batches.pop_front();
        }
    }
    rib.reclaim();
}

void TableWriter::Core::free_batch(Batch& batch) {
    for (const std::uint32_t index : batch.cleanups) {
        if (subscribers[index].cleanup == batch.number) clear_unused_slots(index);
    }
    for (const std::uint32_t index : batch.subscribers) {
        clear_unused_slots(index);
        SubscriberRow& row = tables.subscribers[index];
        for (auto* field : {&row.map, &row.seed, &row.id, &row.policy})
            field->store(0, std::memory_order_relaxed);
        subscriber_indices.give_back(index);
    }
    for (const std::uint32_t row : batch.rows) tunnel_rows.give_back(row);
    for (const auto& [map, classes] : batch.maps) map_runs.give_back(map, classes);
    // Also those that a new tunnel has by now: until here a worker may have counted on the old one.
    if (hooks.zero_tunnel_counters) {
        for (const std::uint32_t slot : batch.slots) hooks.zero_tunnel_counters(slot);
    }
}

// Slots outside the mask: no map names them any more.
void TableWriter::Core::clear_unused_slots(std::uint32_t index) {
    Subscriber& subscriber = subscribers[index];
    for (unsigned line = 0; line < kMaxLines; ++line) {
        if ((subscriber.mask >> line & 1U) == 0) store_slot(index, line, kNoRow);
    }
    subscriber.cleanup = 0;
}

// Goes round the tunnel slots after a change of routes, in slices. Empty slots are cheap, so more
// of them are passed in one slice. A change during a round is the next round's, so that rounds end,
// and next hops that no tunnel names any more can be used again, however restless the routes are.
bool TableWriter::Core::refresh(std::uint32_t budget) {
    if (refresh_left == 0) {
        rib.confirm(refreshed_generation);
        if (rib.generation() == refreshed_generation) return true;
        refreshed_generation = rib.generation();
        refresh_left = highest_slot + 1;
    }
    constexpr std::uint32_t kEmptyPerTunnel = 16;
    std::uint64_t credit = std::uint64_t{budget} * kEmptyPerTunnel;
    while (refresh_left > 0 && credit > 0) {
        --refresh_left;
        if (++refresh_cursor > highest_slot) refresh_cursor = 0;
        const std::uint32_t index =
            tables.tunnel_of_slot[refresh_cursor].load(std::memory_order_relaxed);
        credit -= std::min<std::uint64_t>(credit, index == kNoRow ? 1 : kEmptyPerTunnel);
        if (index == kNoRow) continue;
        TunnelRow& row = tables.tunnels[index];
        const std::uint16_t next_hop = next_hop_of(row);
        if (row.next_hop.load(std::memory_order_relaxed) != next_hop)
            row.next_hop.store(next_hop, std::memory_order_release);
    }
    return refresh_left == 0 && rib.generation() == refreshed_generation;
}

}  // namespace dr::southbound

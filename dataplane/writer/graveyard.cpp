// Batches of rows, slots and maps from their last use to their next.
#include "dataplane/writer/graveyard.h"

#include "dataplane/writer/map_pool.h"
#include "dataplane/writer/subscriber_table.h"
#include "dataplane/writer/tunnel_table.h"

namespace dr::southbound {

void Graveyard::close() {
    const std::uint32_t number = open_.number + 1;
    if (!open_.empty()) {
        open_.token = qsbr_.retire();
        batches_.push_back(std::exchange(open_, {}));
    }
    open_.number = number;
}

void Graveyard::reclaim() {
    if (batches_.empty()) return;
    const Qsbr::Token safe = qsbr_.safe();
    while (!batches_.empty() && batches_.front().token <= safe) {
        give_back(batches_.front());
        batches_.pop_front();
    }
}

void Graveyard::give_back(const Batch& batch) {
    for (const std::uint32_t index : batch.cleanups)
        owners_.subscribers.clean_up(index, batch.number);
    for (const std::uint32_t index : batch.subscribers) owners_.subscribers.give_back(index);
    for (const std::uint32_t row : batch.rows) owners_.tunnels.give_back(row);
    for (const auto& [map, classes] : batch.maps) owners_.maps.give_back(map, classes);
    // A tunnel that took the slot over loses what it has counted until now: a worker may have
    // counted for the old one on it.
    if (owners_.zero_tunnel_counters) {
        for (const std::uint32_t slot : batch.slots) owners_.zero_tunnel_counters(slot);
    }
}

}  // namespace dr::southbound

// Allocates all tables with their capacities.
#include "dataplane/tables/tables.h"

namespace dr {

namespace {

// Rows that wait for their grace period need room beside those in use.
constexpr std::uint32_t spare(std::uint32_t rows) {
    return rows + rows / 16 + 64;
}

template <typename Row>
bool take(RowArray<Row>& array, std::uint32_t rows, const char* what, std::string* error) {
    if (array.allocate(rows)) return true;
    *error = std::string("no memory for ") + what + ": " +
             std::to_string(static_cast<std::size_t>(rows) * sizeof(Row) >> 20) +
             " MiB; lower the capacity or add memory";
    return false;
}

// Whether each capacity, spare rows included, fits the index that stores it.
bool within_limits(const Capacity& c, std::string* error) {
    struct Limit {
        const char* what;
        std::uint32_t value;
        std::uint32_t most;
    };
    constexpr std::uint32_t k24 = (1U << 24) - 1;
    for (const Limit& limit :
         {Limit{"subscribers", c.subscribers, k24 / 17 * 16 - 64}, Limit{"tunnels", c.tunnels, k24},
          Limit{"maps", c.maps, k24}, Limit{"next_hops", c.next_hops, 0xffff},
          Limit{"prefixes4", c.prefixes4, 1U << 28}, Limit{"prefixes6", c.prefixes6, 1U << 28},
          Limit{"groups4", c.groups4, k24}, Limit{"groups6", c.groups6, k24}}) {
        if (limit.value != 0 && limit.value <= limit.most) continue;
        *error = std::string("capacity of ") + limit.what + " is " + std::to_string(limit.value) +
                 "; it must be from 1 to " + std::to_string(limit.most);
        return false;
    }
    return true;
}

}  // namespace

std::unique_ptr<Tables> Tables::create(const Capacity& capacity, std::string* error) {
    if (!within_limits(capacity, error)) return nullptr;
    auto t = std::make_unique<Tables>();
    t->capacity = capacity;
    t->lpm4 = Lpm4::create(capacity.groups4, capacity.prefixes4, t->qsbr);
    t->lpm6 = Lpm6::create(capacity.groups6, capacity.prefixes6, t->qsbr);
    if (!t->lpm4 || !t->lpm6) {
        *error = "no memory for the lookup tables; lower groups4, groups6, prefixes4 or prefixes6";
        return nullptr;
    }
    t->sources4.add({169, 254, 0, 0}, 16);  // link-local, RFC 3927
    const bool ok =
        take(t->subscribers, spare(capacity.subscribers), "subscribers", error) &&
        take(t->extra, spare(capacity.subscribers), "lines 12-15 of subscribers", error) &&
        take(t->tunnel_of_slot, capacity.tunnels, "tunnel slots", error) &&
        take(t->tunnel_keys, capacity.tunnels, "tunnel keys", error) &&
        take(t->tunnels, spare(capacity.tunnels), "tunnels", error) &&
        take(t->move_stamps, kMaxWorkers * kMoves, "stamps of moving subscribers", error) &&
        take(t->maps, spare(capacity.maps), "bucket maps", error) &&
        take(t->next_hops, capacity.next_hops, "next hops", error) &&
        take(t->next_hop_rows, 2 * spare(capacity.next_hops), "next hop rows", error);
    return ok ? std::move(t) : nullptr;
}

void Tables::place(std::uint64_t nodes) const {
    lpm4->place(nodes);
    lpm6->place(nodes);
    subscribers.place(nodes);
    extra.place(nodes);
    tunnel_of_slot.place(nodes);
    tunnels.place(nodes);
    maps.place(nodes);
    next_hops.place(nodes);
    next_hop_rows.place(nodes);
}

}  // namespace dr

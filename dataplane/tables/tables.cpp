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

}  // namespace

std::unique_ptr<Tables> Tables::create(const Capacity& capacity, std::string* error) {
    auto t = std::make_unique<Tables>();
    t->capacity = capacity;
    t->lpm4 = Lpm4::create(capacity.groups4, capacity.prefixes4, t->qsbr);
    t->lpm6 = Lpm6::create(capacity.groups6, capacity.prefixes6, t->qsbr);
    if (!t->lpm4 || !t->lpm6) {
        *error = "no memory for the lookup tables; lower groups4, groups6, prefixes4 or prefixes6";
        return nullptr;
    }
    const bool ok =
        take(t->subscribers, spare(capacity.subscribers), "subscribers", error) &&
        take(t->extra, spare(capacity.subscribers), "lines 12-15 of subscribers", error) &&
        take(t->tunnel_of_slot, capacity.tunnels, "tunnel slots", error) &&
        take(t->tunnels, spare(capacity.tunnels), "tunnels", error) &&
        take(t->maps, spare(capacity.maps), "bucket maps", error) &&
        take(t->next_hops, capacity.next_hops, "next hops", error) &&
        take(t->next_hop_rows, 2 * spare(capacity.next_hops), "next hop rows", error);
    return ok ? std::move(t) : nullptr;
}

}  // namespace dr

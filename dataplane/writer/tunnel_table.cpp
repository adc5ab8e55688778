// Rows of tunnels: published, replaced, kept up to date with the routes.
#include "dataplane/writer/tunnel_table.h"

#include <algorithm>

namespace dr::southbound {

TunnelTable::TunnelTable(Tables& tables, Rib& rib, std::function<void(std::uint32_t slot)> key_hook)
    : tables_(tables), rib_(rib), key_hook_(std::move(key_hook)), rows_(tables.tunnels.size()) {}

std::uint32_t TunnelTable::row_of(std::uint32_t slot) const {
    return tables_.tunnel_of_slot[slot].load(std::memory_order_relaxed);
}

TunnelId TunnelTable::tunnel_in(std::uint32_t slot) const {
    const std::uint32_t row = row_of(slot);
    return row == kNoRow ? TunnelId{} : tunnel_id(tables_.tunnels[row]);
}

std::uint32_t TunnelTable::owner_of(std::uint32_t slot) const {
    const std::uint32_t row = row_of(slot);
    return row == kNoRow ? 0 : tables_.tunnels[row].subscriber;
}

bool TunnelTable::is_installed(std::uint32_t index, const BoundTunnel& tunnel) const {
    const std::uint32_t installed = row_of(TunnelId{tunnel.record.id}.slot());
    if (installed == kNoRow) return false;
    TunnelRow row;
    build_tunnel_row(tunnel, {index}, &row);
    return same_tunnel(row, tables_.tunnels[installed]);
}

std::uint32_t TunnelTable::install(std::uint32_t index, const BoundTunnel& tunnel, Batch& batch) {
    const std::uint32_t slot = TunnelId{tunnel.record.id}.slot();
    const std::uint32_t old = row_of(slot);
    if (is_installed(index, tunnel)) return old;

    const std::uint32_t fresh = rows_.take();
    TunnelRow& row = tables_.tunnels[fresh];
    build_tunnel_row(tunnel, {index}, &row);
    row.next_hop.store(next_hop_of(row), std::memory_order_relaxed);
    tables_.tunnel_of_slot[slot].store(fresh, std::memory_order_release);
    count_local(row, 1);
    highest_slot_ = std::max(highest_slot_, slot);

    if (old == kNoRow) {
        ++count_;
        return fresh;
    }
    const TunnelRow& replaced = tables_.tunnels[old];
    count_local(replaced, -1);
    batch.rows.push_back(old);
    const bool same_one = tunnel_id(replaced) == tunnel_id(row) && replaced.subscriber == index;
    if (!same_one) batch.slots.push_back(slot);
    return fresh;
}

bool TunnelTable::remove(std::uint32_t index, TunnelId id, Batch& batch) {
    const std::uint32_t row = row_of(id.slot());
    if (row == kNoRow || tables_.tunnels[row].subscriber != index) return false;
    tables_.tunnel_of_slot[id.slot()].store(kNoRow, std::memory_order_release);
    set_keys(id.slot(), {});
    count_local(tables_.tunnels[row], -1);
    batch.rows.push_back(row);
    batch.slots.push_back(id.slot());
    --count_;
    return true;
}

// Most tunnels of a change keep their keys, and many tunnels never have any.
void TunnelTable::set_keys(std::uint32_t slot, const TunnelKeys& keys) {
    // Rows beyond are as they were at start: not even read, so that their memory is not taken.
    if (keys.number == 0 && slot >= keyed_slots_) return;
    TunnelKeyRow& row = tables_.tunnel_keys[slot];
    if (read_tunnel_key(row) == keys) return;
    keyed_slots_ = std::max(keyed_slots_, slot + 1);
    write_tunnel_key(row, keys);
    if (key_hook_) key_hook_(slot);
}

// None for a tunnel whose far end is not known.
std::uint16_t TunnelTable::next_hop_of(const TunnelRow& row) const {
    if ((row.flags & TunnelRow::kDisabled) != 0) return 0;
    return static_cast<std::uint16_t>(rib_.resolve(remote_address(row)).value);
}

void TunnelTable::count_local(const TunnelRow& row, int by) {
    const auto [entry, added] = locals_.try_emplace(local_address(row), 0);
    entry->second += static_cast<std::uint32_t>(by);
    if (added) ++locals_generation_;
    if (entry->second != 0) return;
    locals_.erase(entry);
    ++locals_generation_;
}

// Empty slots are cheap, so more of them are passed in one call. A change during a round is the
// next round's, so that rounds end, and next hops that no tunnel names any more can be used again,
// however restless the routes are.
bool TunnelTable::refresh_next_hops(std::uint32_t budget) {
    if (refresh_left_ == 0) {
        rib_.confirm(refreshed_generation_);
        if (rib_.generation() == refreshed_generation_) return true;
        refreshed_generation_ = rib_.generation();
        refresh_left_ = highest_slot_ + 1;
    }
    constexpr std::uint32_t kEmptyPerTunnel = 16;
    std::uint64_t credit = std::uint64_t{budget} * kEmptyPerTunnel;
    while (refresh_left_ > 0 && credit > 0) {
        --refresh_left_;
        if (++refresh_cursor_ > highest_slot_) refresh_cursor_ = 0;
        const std::uint32_t index = row_of(refresh_cursor_);
        credit -= std::min<std::uint64_t>(credit, index == kNoRow ? 1 : kEmptyPerTunnel);
        if (index == kNoRow) continue;
        TunnelRow& row = tables_.tunnels[index];
        const std::uint16_t next_hop = next_hop_of(row);
        if (row.next_hop.load(std::memory_order_relaxed) != next_hop)
            row.next_hop.store(next_hop, std::memory_order_release);
    }
    return refresh_left_ == 0 && rib_.generation() == refreshed_generation_;
}

}  // namespace dr::southbound

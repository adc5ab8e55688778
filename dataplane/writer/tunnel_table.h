// The tunnels' rows as workers and liveness read them: who has which slot, its row, its keys, and
// the next hop to its far end.
//
// One thread: the writer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "dataplane/tables/rib.h"
#include "dataplane/tables/tables.h"
#include "dataplane/writer/graveyard.h"
#include "dataplane/writer/index_pool.h"
#include "dataplane/writer/tunnel_row.h"

namespace dr::southbound {

class TunnelTable final {
  public:
    // Writes Tables::tunnels, tunnel_of_slot and tunnel_keys; all arguments outlive it. `key_hook`
    // is called with the slot whose keys are new, changed or gone; empty: nobody is told.
    TunnelTable(Tables& tables, Rib& rib, std::function<void(std::uint32_t slot)> key_hook);
    TunnelTable(const TunnelTable&) = delete;
    TunnelTable& operator=(const TunnelTable&) = delete;

    // Slots are below this.
    [[nodiscard]] std::uint32_t slots() const { return tables_.tunnel_of_slot.size(); }
    // The row of the slot's tunnel; kNoRow: there is none.
    [[nodiscard]] std::uint32_t row_of(std::uint32_t slot) const;
    // The tunnel in a slot; {0}: there is none.
    [[nodiscard]] TunnelId tunnel_in(std::uint32_t slot) const;
    // The index of the subscriber whose tunnel has the slot; 0: none.
    [[nodiscard]] std::uint32_t owner_of(std::uint32_t slot) const;
    // The slot has a tunnel, and install() would leave its row as it is.
    [[nodiscard]] bool is_installed(std::uint32_t index, const BoundTunnel& tunnel) const;
    // Rows that install() can still take.
    [[nodiscard]] std::uint32_t available() const { return rows_.available(); }

    // The row of this tunnel, published in its slot: the one that there is when nothing about it
    // differs, else a new one. A row must be available.
    std::uint32_t install(std::uint32_t index, const BoundTunnel& tunnel, Batch& batch);
    // Unpublishes the tunnel and its keys. false: the slot is another subscriber's by now, or
    // empty, and nothing was done.
    bool remove(std::uint32_t index, TunnelId id, Batch& batch);
    // `keys` with number 0: the tunnel has none.
    void set_keys(std::uint32_t slot, const TunnelKeys& keys);
    // After a grace period.
    void give_back(std::uint32_t row) { rows_.give_back(row); }

    // Goes round the slots after a change of routes, at most about `budget` tunnels in one call,
    // and finds their next hops again. true: all are up to date.
    bool refresh_next_hops(std::uint32_t budget);

    // How many tunnels there are.
    [[nodiscard]] std::uint32_t count() const { return count_; }
    // The local addresses of all tunnels, with how many have each, and a number that grows when the
    // set changes.
    [[nodiscard]] const std::map<IpAddress, std::uint32_t>& locals() const { return locals_; }
    [[nodiscard]] std::uint64_t locals_generation() const { return locals_generation_; }
    // The highest slot that was ever in use, rows below which all that were in use are, and slots
    // below which all that ever had keys are.
    [[nodiscard]] std::uint32_t highest_slot() const { return highest_slot_; }
    [[nodiscard]] std::uint32_t high_water() const { return rows_.high_water(); }
    [[nodiscard]] std::uint32_t keyed_slots() const { return keyed_slots_; }
    // Of the free rows' numbers.
    [[nodiscard]] std::size_t bytes() const { return rows_.bytes(); }

  private:
    [[nodiscard]] std::uint16_t next_hop_of(const TunnelRow& row) const;
    void count_local(const TunnelRow& row, int by);

    Tables& tables_;
    Rib& rib_;
    std::function<void(std::uint32_t slot)> key_hook_;
    IndexPool rows_;
    std::uint32_t count_{};
    std::uint32_t highest_slot_{};
    std::uint32_t keyed_slots_{};
    std::map<IpAddress, std::uint32_t> locals_;
    std::uint64_t locals_generation_{};
    // The round of refresh_next_hops().
    std::uint64_t refreshed_generation_{};
    std::uint32_t refresh_cursor_{};
    std::uint32_t refresh_left_{};
};

}  // namespace dr::southbound

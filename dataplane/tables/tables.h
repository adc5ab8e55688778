// All tables that workers read, with their capacities. Built at start, never resized.
//
// Workers read every member; rows.h names the writers. Memory is accounted per table.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/tables/key_row.h"
#include "dataplane/tables/lpm.h"
#include "dataplane/tables/move_board.h"
#include "dataplane/tables/placement.h"
#include "dataplane/tables/qsbr.h"
#include "dataplane/tables/region.h"
#include "dataplane/tables/rows.h"
#include "dataplane/tables/source_filter.h"

namespace dr {

struct Capacity {
    std::uint32_t subscribers = 1'000'000;
    std::uint32_t tunnels = 4'000'000;
    std::uint32_t maps = 65'536;
    std::uint32_t next_hops = 4'096;
    std::uint32_t prefixes4 = 2'100'000;
    std::uint32_t prefixes6 = 2'100'000;
    std::uint32_t groups4 = 131'072;
    std::uint32_t groups6 = 262'144;
};

// An array in a Region; index 0 is reserved (kNoRow).
template <typename Row>
class RowArray final {
  public:
    [[nodiscard]] bool allocate(std::uint32_t rows) {
        region_ = Region(static_cast<std::size_t>(rows) * sizeof(Row));
        rows_ = region_.data() == nullptr ? 0 : rows;
        return rows_ == rows;
    }
    [[nodiscard]] Row& operator[](std::uint32_t index) const noexcept {
        return static_cast<Row*>(region_.data())[index];
    }
    [[nodiscard]] std::uint32_t size() const { return rows_; }
    [[nodiscard]] std::size_t bytes() const { return region_.size(); }
    void place(std::uint64_t nodes) const { dr::place(region_.data(), region_.size(), nodes); }

  private:
    Region region_;
    std::uint32_t rows_{};
};

struct Tables final {
    // Null and a reason when memory cannot be had.
    static std::unique_ptr<Tables> create(const Capacity& capacity, std::string* error);

    // Sets the NUMA nodes of all rows that have not been touched yet (placement.h). Once, before
    // the first row is written.
    void place(std::uint64_t nodes) const;

    Qsbr qsbr;
    std::unique_ptr<Lpm4> lpm4;
    std::unique_ptr<Lpm6> lpm6;
    // This router's own addresses, pools, subscribers, and link-local addresses of IPv4. Packets
    // from the network with such a source are not forwarded.
    SourceFilter<4> sources4;
    SourceFilter<16> sources6;
    RowArray<SubscriberRow> subscribers;
    // Lines 12-15 of a subscriber, [SubscriberIndex][line - 12].
    RowArray<std::array<std::atomic<std::uint32_t>, kMaxLines - SubscriberRow::kInline>> extra;
    // TunnelId::slot() -> index of the row, a new one for a tunnel that changes; 0: no such tunnel.
    RowArray<std::atomic<std::uint32_t>> tunnel_of_slot;
    RowArray<TunnelRow> tunnels;
    // By TunnelId::slot(), for liveness.
    RowArray<TunnelKeyRow> tunnel_keys;
    RowArray<BucketMap> maps;
    // NextHopIndex -> row of next_hop_rows; 0: no such next hop.
    RowArray<std::atomic<std::uint32_t>> next_hops;
    RowArray<NextHopRow> next_hop_rows;
    MoveBoard moves;
    // By worker number times kMoves plus place; the worker writes.
    RowArray<MoveStamps> move_stamps;
    static constexpr unsigned kMaxWorkers = 32;
    Capacity capacity;

    // The tunnel row for a line of a subscriber; 0: none.
    [[nodiscard]] std::uint32_t tunnel_for(std::uint32_t subscriber, unsigned line) const noexcept {
        if (line < SubscriberRow::kInline) [[likely]]
            return subscribers[subscriber].slot[line].load(std::memory_order_acquire);
        if (line >= kMaxLines) return kNoRow;
        return extra[subscriber][line - SubscriberRow::kInline].load(std::memory_order_acquire);
    }
    [[nodiscard]] const NextHopRow& next_hop(std::uint32_t index) const noexcept {
        return next_hop_rows[next_hops[index].load(std::memory_order_acquire)];
    }
};

}  // namespace dr

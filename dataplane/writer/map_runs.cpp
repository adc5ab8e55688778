// A buddy allocator of runs of maps.
#include "dataplane/writer/map_runs.h"

#include <algorithm>
#include <bit>

namespace dr::southbound {
namespace {

// The smallest run of 1, 2, 4 or 8 that holds this many, as a power of two.
unsigned order_of(unsigned classes) {
    return static_cast<unsigned>(std::bit_width(classes - 1));
}

}  // namespace

MapRuns::MapRuns(std::uint32_t maps) : position_(maps), order_(maps), maps_(maps) {
    // Map 0 is reserved: what remains of the first block of 8.
    for (unsigned order = 0; order < kOrders - 1; ++order) {
        const std::uint32_t base = 1U << order;
        if (base * 2 <= maps) add(base, order);
    }
}

void MapRuns::add(std::uint32_t base, unsigned order) {
    free_[order].push_back(base);
    position_[base] = static_cast<std::uint32_t>(free_[order].size());
    order_[base] = static_cast<std::uint8_t>(order);
}

void MapRuns::remove(std::uint32_t base, unsigned order) {
    std::vector<std::uint32_t>& list = free_[order];
    const std::uint32_t place = position_[base];
    list[place - 1] = list.back();
    position_[list[place - 1]] = place;
    list.pop_back();
    position_[base] = 0;
}

std::uint32_t MapRuns::take(unsigned classes) {
    const unsigned wanted = order_of(classes);
    unsigned order = wanted;
    while (order < kOrders && free_[order].empty()) ++order;
    std::uint32_t base;
    if (order < kOrders) {
        base = free_[order].back();
        remove(base, order);
    } else {
        order = kOrders - 1;
        if (maps_ < 8 || next_ > maps_ - 8) return 0;
        base = next_;
        next_ += 8;
    }
    while (order > wanted) {
        --order;
        add(base + (1U << order), order);
    }
    in_use_ += 1U << wanted;
    high_water_ = std::max(high_water_, base + (1U << wanted));
    return base;
}

void MapRuns::give_back(std::uint32_t base, unsigned classes) {
    unsigned order = order_of(classes);
    in_use_ -= 1U << order;
    while (order < kOrders - 1) {
        const std::uint32_t buddy = base ^ (1U << order);
        if (buddy == 0 || position_[buddy] == 0 || order_[buddy] != order) break;
        remove(buddy, order);
        base = std::min(base, buddy);
        ++order;
    }
    add(base, order);
}

}  // namespace dr::southbound

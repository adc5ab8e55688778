// Rows of subscribers: what is stored in which order, and what is cleared when.
#include "dataplane/writer/subscriber_table.h"

#include <algorithm>

namespace dr::southbound {
namespace {

// Target holds 28 bits of subscriber index, a tunnel row 24.
constexpr std::uint32_t kMaxSubscriberRows = 1U << 24;

void store_if_new(std::atomic<std::uint32_t>& field, std::uint32_t value) {
    if (field.load(std::memory_order_relaxed) != value)
        field.store(value, std::memory_order_release);
}

}  // namespace

SubscriberTable::SubscriberTable(Tables& tables, MapPool& maps)
    : tables_(tables),
      maps_(maps),
      indices_(std::min(tables.subscribers.size(), kMaxSubscriberRows)),
      entries_(1) {}

std::uint32_t SubscriberTable::take() {
    const std::uint32_t index = indices_.take();
    if (index >= entries_.size()) entries_.resize(index + 1U);
    return index;
}

void SubscriberTable::describe(std::uint32_t index, std::uint32_t id, std::uint32_t policy,
                               std::uint32_t seed) {
    SubscriberRow& row = tables_.subscribers[index];
    store_if_new(row.seed, seed);
    store_if_new(row.id, id);
    store_if_new(row.policy, policy);
}

void SubscriberTable::set_slot(std::uint32_t index, unsigned line, std::uint32_t row) {
    store_if_new(line < SubscriberRow::kInline
                     ? tables_.subscribers[index].slot[line]
                     : tables_.extra[index][line - SubscriberRow::kInline],
                 row);
}

void SubscriberTable::steer(std::uint32_t index, std::uint32_t map, std::uint16_t mask,
                            Batch& batch) {
    point(index, map, kMoves, batch);
    Entry& entry = entries_[index];
    if ((entry.mask & ~mask) != 0) {
        entry.cleanup = batch.number;
        batch.cleanups.push_back(index);
    }
    entry.mask = mask;
}

void SubscriberTable::point(std::uint32_t index, std::uint32_t map, std::uint32_t place,
                            Batch& batch) {
    Entry& entry = entries_[index];
    const std::uint32_t old = entry.map;
    const std::uint32_t stored =
        place < kMoves && map != kNoRow ? map | place << 24 | SubscriberRow::kMoving : map;
    store_if_new(tables_.subscribers[index].map, stored);
    if (map == old) return;
    if (map != kNoRow) maps_.hold(map);
    entry.map = map;
    if (old != kNoRow) maps_.release(old, batch);
}

void SubscriberTable::bury(std::uint32_t index, Batch& batch) {
    if (entries_[index].map != kNoRow) maps_.release(entries_[index].map, batch);
    entries_[index] = {};
    batch.subscribers.push_back(index);
}

void SubscriberTable::clean_up(std::uint32_t index, std::uint32_t batch) {
    if (entries_[index].cleanup == batch) clear_unused_slots(index);
}

void SubscriberTable::give_back(std::uint32_t index) {
    clear_unused_slots(index);
    SubscriberRow& row = tables_.subscribers[index];
    for (auto* field : {&row.map, &row.seed, &row.id, &row.policy})
        field->store(0, std::memory_order_relaxed);
    indices_.give_back(index);
}

void SubscriberTable::clear_unused_slots(std::uint32_t index) {
    Entry& entry = entries_[index];
    for (unsigned line = 0; line < kMaxLines; ++line) {
        if ((entry.mask >> line & 1U) == 0) set_slot(index, line, kNoRow);
    }
    entry.cleanup = 0;
}

}  // namespace dr::southbound

// The subscribers' rows as workers read them: indices, maps, and a slot for each line.
//
// A map never names a line whose slot is empty: slots are stored before the map that names them,
// and cleared when the grace period of the last such map is over.
//
// One thread: the writer.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/tables/tables.h"
#include "dataplane/writer/graveyard.h"
#include "dataplane/writer/index_pool.h"
#include "dataplane/writer/map_pool.h"

namespace dr::southbound {

class SubscriberTable final {
  public:
    // Writes Tables::subscribers and Tables::extra; both arguments outlive it.
    SubscriberTable(Tables& tables, MapPool& maps);
    SubscriberTable(const SubscriberTable&) = delete;
    SubscriberTable& operator=(const SubscriberTable&) = delete;

    // An index with an empty row; 0: none is left.
    std::uint32_t take();
    // What a packet needs of the record itself.
    void describe(std::uint32_t index, std::uint32_t id, std::uint32_t policy, std::uint32_t seed);
    void set_slot(std::uint32_t index, unsigned line, std::uint32_t row);
    // The subscriber has slots for the lines of `mask` (bit n: line n), which are set, and takes
    // this map; kNoRow: nothing of it is forwarded to the site. Slots outside `mask` are cleared
    // after the grace period.
    void steer(std::uint32_t index, std::uint32_t map, std::uint16_t mask, Batch& batch);
    // The same without another set of slots. `place`: on the MoveBoard, while the subscriber is
    // moved; kMoves: none.
    void point(std::uint32_t index, std::uint32_t map, std::uint32_t place, Batch& batch);
    // The subscriber is out of the lookup table: its map is released, its row goes with the batch.
    void bury(std::uint32_t index, Batch& batch);

    // After a grace period. Clears the slots that no map names, unless a later batch will.
    void clean_up(std::uint32_t index, std::uint32_t batch);
    // Clears the row; the index can be taken again.
    void give_back(std::uint32_t index);

    [[nodiscard]] std::uint32_t available() const { return indices_.available(); }
    // Indices below have been in use.
    [[nodiscard]] std::uint32_t high_water() const { return indices_.high_water(); }
    // Of what is kept for each index, and of the free indices.
    [[nodiscard]] std::size_t entry_bytes() const { return entries_.capacity() * sizeof(Entry); }
    [[nodiscard]] std::size_t index_bytes() const { return indices_.bytes(); }

  private:
    struct Entry {
        std::uint32_t map{};      // of class 0, as the row names it
        std::uint32_t cleanup{};  // number of the latest batch that is to clear unused slots
        std::uint16_t mask{};     // lines with a slot
    };
    void clear_unused_slots(std::uint32_t index);

    Tables& tables_;
    MapPool& maps_;
    IndexPool indices_;
    std::vector<Entry> entries_;
};

}  // namespace dr::southbound

// What is unpublished and waits for its grace period (tables/qsbr.h) before it is used again.
//
// A commit, or one round of requests of the liveness threads, fills the open batch; close() begins
// the batch's grace period, and reclaim() gives back the batches whose grace period is over.
//
// One thread: the writer.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <utility>
#include <vector>

#include "dataplane/tables/qsbr.h"

namespace dr::southbound {

class MapPool;
class SubscriberTable;
class TunnelTable;

// What was unpublished together.
struct Batch {
    Qsbr::Token token{};
    std::uint32_t number = 1;
    std::vector<std::uint32_t> rows;         // of tunnels
    std::vector<std::uint32_t> slots;        // whose tunnel went or was replaced by another one
    std::vector<std::uint32_t> subscribers;  // indices
    std::vector<std::uint32_t> cleanups;     // subscribers with slots that no map names any more
    std::vector<std::pair<std::uint32_t, std::uint8_t>> maps;  // first map, classes

    [[nodiscard]] bool empty() const {
        return rows.empty() && slots.empty() && subscribers.empty() && cleanups.empty() &&
               maps.empty();
    }
};

class Graveyard final {
  public:
    // The owners get back what outlived its grace period; all outlive the graveyard.
    struct Owners {
        SubscriberTable& subscribers;
        TunnelTable& tunnels;
        MapPool& maps;
        // Zeroes the counters of a tunnel slot. Empty: nothing does.
        std::function<void(std::uint32_t slot)> zero_tunnel_counters;
    };
    Graveyard(Qsbr& qsbr, Owners owners) : qsbr_(qsbr), owners_(std::move(owners)) {}

    // The batch to put things into; its number is greater than that of every closed one.
    [[nodiscard]] Batch& open() { return open_; }
    // Everything in the open batch has been unpublished. Opens the next one.
    void close();
    // Gives back the batches whose grace period is over.
    void reclaim();
    // No closed batch waits.
    [[nodiscard]] bool empty() const { return batches_.empty(); }

  private:
    void give_back(const Batch& batch);

    Qsbr& qsbr_;
    Owners owners_;
    std::deque<Batch> batches_;  // oldest first
    Batch open_;
};

}  // namespace dr::southbound

// Allocation of tunnel ids (GRE keys): low 24 bits slot, high 8 bits generation.
//
// A tunnel owns its slot. A freed slot rests in quarantine, counted on the steady clock and from
// the start again after a restart of drd, before it is allocated again, with the next generation;
// so neither a packet in flight nor a site that was not told yet can reach another subscriber's
// tunnel. Fresh slots are handed out in ascending order, which keeps the data plane's array dense.
// An operator who names an id takes that slot at once: quarantine binds the allocator only.
//
// Not thread-safe: the catalog's writer lock guards it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

namespace dr::control {

class TunnelIds {
  public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::uint32_t kSlotMask = 0xffffff;
    static constexpr std::chrono::seconds kQuarantine{60};

    explicit TunnelIds(Clock::duration quarantine = kQuarantine) : quarantine_(quarantine) {}

    static std::uint32_t slot(std::uint32_t id) { return id & kSlotMask; }
    // The id that the slot of `id` has next.
    static std::uint32_t next_generation(std::uint32_t id);
    static std::uint8_t generation(std::uint32_t id) { return static_cast<std::uint8_t>(id >> 24); }

    // The subscriber that owns the slot of `id`; 0: nobody.
    [[nodiscard]] std::uint32_t owner(std::uint32_t id) const;
    // Whether the slot of `id` has been used before and is free now.
    [[nodiscard]] bool resting(std::uint32_t id) const { return current_.contains(slot(id)); }
    // Slots must be below this, the number of the data plane's tunnels; at most 2^24.
    void set_capacity(std::uint32_t slots) { capacity_ = std::min(slots, kSlotMask + 1); }
    [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
    // An id whose slot is free, below the capacity and not in quarantine; it is not taken yet.
    // Nothing when there is none.
    [[nodiscard]] std::optional<std::uint32_t> pick(Clock::time_point now);
    // Gives the slot of `id`, which has no owner, to `subscriber`.
    void take(std::uint32_t id, std::uint32_t subscriber);
    // Returns the slot, to quarantine.
    void release(std::uint32_t id, Clock::time_point now);
    // Takes back a take() that came to nothing, of a slot that had not been used before.
    void forget(std::uint32_t id);
    // A slot that the store knows as freed, with the last generation it had.
    void restore_freed(std::uint32_t id, Clock::time_point now) { rest(id, now); }

  private:
    struct Resting {
        std::uint32_t id;
        std::uint64_t sequence;
        Clock::time_point since;
    };
    void rest(std::uint32_t id, Clock::time_point now);

    Clock::duration quarantine_;
    std::vector<std::uint32_t> owner_;                          // by slot
    std::deque<Resting> resting_;                               // oldest first, some outdated
    std::unordered_map<std::uint32_t, std::uint64_t> current_;  // resting slot -> sequence
    std::uint32_t next_fresh_ = 1;                              // no slot below it is fresh
    std::uint32_t capacity_ = kSlotMask + 1;
    std::uint64_t sequence_ = 0;
};

}  // namespace dr::control

// Allocation of tunnel ids (GRE keys): low 24 bits slot, high 8 bits generation.
//
// A tunnel owns its slot. A freed slot rests in quarantine, counted on the steady clock and from
// the start again after a restart of drd, before it is allocated again, with the next generation;
// so neither a packet in flight nor a site with an old configuration can reach another subscriber's
// tunnel. An operator who names an id takes that slot at once: quarantine binds the allocator only.
//
// A fresh slot is drawn at random from all slots, and so is its first generation: knowledge of
// other ids does not help to guess it. With n slots it is one of 255 n.
//
// Not thread-safe: the catalog's writer lock guards it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
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

    // The subscriber that owns the slot of `id`; 0: none.
    [[nodiscard]] std::uint32_t owner(std::uint32_t id) const;
    // Whether the slot of `id` has been used before and is free now.
    [[nodiscard]] bool resting(std::uint32_t id) const { return current_.contains(slot(id)); }
    // Slots must be below this, the number of the data plane's tunnels; at most 2^24. Not
    // confirmed: no data plane has reported it yet. Fresh slots are then drawn from the lowest ones
    // only, about twice as many as are used, because the data plane may turn out smaller.
    void set_capacity(std::uint32_t slots, bool confirmed = true);
    [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
    [[nodiscard]] bool confirmed() const { return confirmed_; }
    // An id whose slot is free, below the capacity and not in quarantine; it is not taken yet.
    // Nothing when there is none. In constant time on average, however full the slots are. Throws
    // std::system_error when the kernel gives no random numbers.
    [[nodiscard]] std::optional<std::uint32_t> pick(Clock::time_point now);
    // Gives the slot of `id`, which has no owner, to `subscriber`.
    void take(std::uint32_t id, std::uint32_t subscriber);
    // Returns the slot, to quarantine.
    void release(std::uint32_t id, Clock::time_point now);
    // Undoes a take() of a failed change, for a slot that had not been used before.
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
    [[nodiscard]] std::optional<std::uint32_t> pick_fresh();
    [[nodiscard]] bool fresh(std::uint32_t slot) const;
    [[nodiscard]] std::uint64_t random();

    Clock::duration quarantine_;
    std::vector<std::uint32_t> owner_;                          // by slot
    std::deque<Resting> resting_;                               // oldest first, some outdated
    std::unordered_map<std::uint32_t, std::uint64_t> current_;  // resting slot -> sequence
    // Fresh slots are drawn from this pack. It has all of them below `packed_`, and some that are
    // no longer fresh: those are discarded when they are drawn.
    std::vector<std::uint32_t> pack_;
    std::uint32_t packed_ = 1;
    std::uint32_t used_ = 0;  // slots that have an owner
    std::uint32_t capacity_ = kSlotMask + 1;
    bool confirmed_ = false;
    std::array<std::uint64_t, 64> random_{};
    std::size_t random_left_ = 0;
    std::uint64_t sequence_ = 0;
};

}  // namespace dr::control

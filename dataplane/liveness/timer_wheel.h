// Hierarchical timing wheel (Varghese, Lauck 1987, scheme 7): one timer for each of a fixed number
// of entries; setting, cancelling and expiring are O(1). Four levels of 256 slots, 1 ms the finest.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/liveness/profile.h"
#include "dataplane/liveness/rows.h"

namespace dr::liveness {

class TimerWheel {
  public:
    static constexpr std::uint32_t kNone = 0xffffffff;
    static constexpr Time kTick = kMillisecond;

    explicit TimerWheel(std::uint32_t entries) : entries_(entries, Entry{0, kNone, kNone, kIdle}) {
        head_.fill(kNone);
    }

    // An empty wheel jumps to `now`; call it before set() when expire() may have rested for long.
    void skip_to(Time now) {
        if (count_ == 0 && now / kTick > tick_) tick_ = now / kTick;
    }
    // Fires at the first tick that is not before `at`, or in the next expire() if `at` has passed;
    // replaces the entry's timer. A time beyond the wheel's range (49 days) is taken as its end.
    // kNever cancels.
    void set(std::uint32_t entry, Time at);
    void cancel(std::uint32_t entry);
    // The next entry that is due at `now`, its timer cancelled; kNone: none. To be called until
    // then.
    std::uint32_t expire(Time now);
    void prefetch(std::uint32_t entry) const { __builtin_prefetch(&entries_[entry], 1); }
    // No timer fires before this time; kNever: there is none. Exact within 256 ms, else early.
    [[nodiscard]] Time next() const;

  private:
    static constexpr unsigned kLevels = 4;
    static constexpr unsigned kBits = 8;
    static constexpr unsigned kSlots = 1U << kBits;

    struct Entry {
        std::uint64_t tick;  // due
        std::uint32_t next;
        std::uint32_t previous;
        std::uint16_t slot;  // kSlots * level + index; kIdle
    };
    static constexpr std::uint16_t kIdle = 0xffff;

    void link(std::uint32_t entry);
    void unlink(std::uint32_t entry);
    void cascade(unsigned level);
    // Circular distance, 0-255, from slot `from` to the first used one; kSlots: none is.
    [[nodiscard]] unsigned distance(unsigned level, unsigned from) const;
    void advance(std::uint64_t now_tick);

    Rows<Entry> entries_;
    std::array<std::uint32_t, kLevels * kSlots> head_;
    std::array<std::uint64_t, kLevels * kSlots / 64> used_{};
    std::uint64_t tick_ = 0;  // all timers of earlier ticks have fired
    std::uint32_t count_ = 0;
};

}  // namespace dr::liveness

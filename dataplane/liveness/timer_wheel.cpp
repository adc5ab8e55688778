// Timers in slots by their time.
#include "dataplane/liveness/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace dr::liveness {

void TimerWheel::link(std::uint32_t entry) {
    Entry& e = entries_[entry];
    const std::uint64_t tick = std::max(e.tick, tick_);
    const std::uint64_t ahead = tick - tick_;
    unsigned level = 0;
    while (level + 1 < kLevels && ahead >= std::uint64_t{1} << (kBits * (level + 1))) ++level;
    const unsigned index = static_cast<unsigned>(tick >> (kBits * level)) & (kSlots - 1);
    const unsigned slot = level * kSlots + index;
    e.slot = static_cast<std::uint16_t>(slot);
    e.previous = kNone;
    e.next = head_[slot];
    if (e.next != kNone) entries_[e.next].previous = entry;
    head_[slot] = entry;
    used_[slot / 64] |= std::uint64_t{1} << (slot % 64);
}

void TimerWheel::unlink(std::uint32_t entry) {
    Entry& e = entries_[entry];
    if (e.previous != kNone) {
        entries_[e.previous].next = e.next;
    } else {
        head_[e.slot] = e.next;
        if (e.next == kNone) used_[e.slot / 64U] &= ~(std::uint64_t{1} << (e.slot % 64));
    }
    if (e.next != kNone) entries_[e.next].previous = e.previous;
    e.slot = kIdle;
}

void TimerWheel::set(std::uint32_t entry, Time at) {
    if (at == kNever) return cancel(entry);
    const std::uint64_t last = tick_ + (std::uint64_t{1} << (kBits * kLevels)) - 1;
    const std::uint64_t tick = std::min(at / kTick + (at % kTick != 0 ? 1 : 0), last);
    if (entries_[entry].slot != kIdle && entries_[entry].tick == tick) return;
    cancel(entry);
    entries_[entry].tick = tick;
    ++count_;
    link(entry);
}

void TimerWheel::cancel(std::uint32_t entry) {
    if (entries_[entry].slot == kIdle) return;
    unlink(entry);
    --count_;
}

// Entries of the slot that begins now move to where they belong below.
void TimerWheel::cascade(unsigned level) {
    if (level == kLevels) return;
    const unsigned index = static_cast<unsigned>(tick_ >> (kBits * level)) & (kSlots - 1);
    if (index == 0) cascade(level + 1);
    const unsigned slot = level * kSlots + index;
    std::uint32_t entry = head_[slot];
    head_[slot] = kNone;
    used_[slot / 64] &= ~(std::uint64_t{1} << (slot % 64));
    while (entry != kNone) {
        const std::uint32_t next = entries_[entry].next;
        link(entry);
        entry = next;
    }
}

unsigned TimerWheel::distance(unsigned level, unsigned from) const {
    const unsigned words = kSlots / 64;
    const std::uint64_t* used = used_.data() + static_cast<std::size_t>(level) * words;
    for (unsigned i = 0; i <= words; ++i) {
        const unsigned word = (from / 64 + i) % words;
        std::uint64_t bits = used[word];
        if (i == 0) bits &= ~std::uint64_t{0} << (from % 64);
        if (i == words) bits &= (std::uint64_t{1} << (from % 64)) - 1;
        if (bits == 0) continue;
        const unsigned at = word * 64 + static_cast<unsigned>(std::countr_zero(bits));
        return (at - from) & (kSlots - 1);
    }
    return kSlots;
}

// To the next used slot, the end of the rotation, or now, whichever is first.
void TimerWheel::advance(std::uint64_t now_tick) {
    const unsigned index = static_cast<unsigned>(tick_) & (kSlots - 1);
    const unsigned to_end = kSlots - index;
    tick_ = std::min(tick_ + std::min(distance(0, index), to_end), now_tick);
    if ((tick_ & (kSlots - 1)) == 0) cascade(1);
}

std::uint32_t TimerWheel::expire(Time now) {
    const std::uint64_t now_tick = now / kTick;
    while (true) {
        if (count_ == 0) {
            tick_ = std::max(tick_, now_tick);
            return kNone;
        }
        const std::uint32_t entry = head_[tick_ & (kSlots - 1)];
        if (entry != kNone) {
            // Due now: a timer of a later tick never shares the current slot.
            cancel(entry);
            return entry;
        }
        if (tick_ >= now_tick) return kNone;
        advance(now_tick);
    }
}

Time TimerWheel::next() const {
    if (count_ == 0) return kNever;
    std::uint64_t best = ~std::uint64_t{0};
    const unsigned near = distance(0, static_cast<unsigned>(tick_) & (kSlots - 1));
    if (near < kSlots) best = tick_ + near;
    // Timers of the other levels are due after this rotation.
    if (near < kSlots - (static_cast<unsigned>(tick_) & (kSlots - 1))) return best * kTick;
    for (unsigned level = 1; level < kLevels; ++level) {
        const std::uint64_t here = tick_ >> (kBits * level);
        // The current slot has been cascaded: what is in it belongs to the next rotation.
        const unsigned far = distance(level, static_cast<unsigned>(here + 1) & (kSlots - 1));
        if (far < kSlots) best = std::min(best, (here + 1 + far) << (kBits * level));
    }
    return best * kTick;
}

}  // namespace dr::liveness

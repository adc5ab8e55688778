// The search for the largest packet that passes (RFC 8899).
#include "dataplane/liveness/path_mtu.h"

#include <algorithm>

namespace dr::liveness {

namespace {

// Tries of a size before it counts as too large, after the first probe alone: five more lost ones
// of a path that loses one in twenty each way are one in a million.
constexpr unsigned kTries = 5;
// So many of them must have the smallest size beside them acknowledged.
constexpr unsigned kControls = kTries - 1;
constexpr Time kConfirmGap = kSecond;
// Between two tries; after the last one there is time for its acknowledgement. On a long path they
// would else take seconds.
constexpr Time kPace = 100 * kMillisecond;
// A confirmation waits no longer for its first probe; a later acknowledgement counts all the same.
constexpr Time kFirstWait = 500 * kMillisecond;
// Tries in which, with a queue on the path, the size in use must fail, and of which nearly all must
// have the smallest size beside them acknowledged. A path that loses two of three large packets and
// half as many small ones has one chance in 10,000 to look narrow.
constexpr unsigned kQueueTries = 15;
constexpr unsigned kQueueControls = kQueueTries - 2;
// Longer between two confirmations: the line is full enough.
constexpr Time kQueueRest = kSecond;
// Seconds before a larger size is looked for again: soon at first, since a burst of loss may have
// made this one small, then three times as long each time (RFC 8899 §5.1.1, PMTU_RAISE_TIMER).
constexpr std::uint16_t kFirstRaise = 10;
constexpr std::uint16_t kLastRaise = 600;
constexpr unsigned kParts = 9;

// MTUs of lines that are common, outer packets: Ethernet, PPPoE, DS-Lite and 6in4, PPPoE behind
// L2TP (Japan), L2TP, WireGuard, mobile networks, IPsec, the least of IPv6.
constexpr std::array<std::uint16_t, 9> kCommon{1500, 1492, 1480, 1454, 1440,
                                               1420, 1400, 1358, 1280};

}  // namespace

bool PathMtu::limit(Time now, std::uint16_t ceiling) {
    if (ceiling != 0) ceiling = std::max(ceiling, kFloor);
    if (ceiling == ceiling_) return false;
    ceiling_ = ceiling;
    if (ceiling == 0) {
        stop();
        size_ = 0;
        return false;
    }
    if (size_ == 0) size_ = std::min(kStart, ceiling);
    if (size_ > ceiling) take(now, ceiling);
    return true;
}

void PathMtu::search(Time now, std::uint64_t token, std::uint16_t overhead) {
    if (ceiling_ == 0) return;
    begin(now, token, overhead, ceiling_);
}

void PathMtu::confirm(Time now, std::uint64_t token, std::uint16_t overhead) {
    if (ceiling_ == 0 || searching() || now < confirmed_ + kConfirmGap) return;
    confirmed_ = now;
    begin(now, token, overhead, size_);
}

void PathMtu::hint(Time now, std::uint64_t token, std::uint16_t overhead, std::uint16_t size) {
    if (size >= size_) return;
    confirm(now, token, overhead);
    if ((stage_ == Stage::First || stage_ == Stage::Queue) && size >= kFloor) hint_ = size;
}

void PathMtu::begin(Time now, std::uint64_t token, std::uint16_t overhead, std::uint16_t first) {
    token_ = token;
    overhead_ = overhead;
    first_ = first;
    hint_ = 0;
    confirms_ = first == size_ && first < ceiling_;
    lowered_ = sure_ = tried_common_ = false;
    low_ = 0;
    high_ = static_cast<std::uint16_t>(ceiling_ + 1);
    enter(Stage::First);
    next_ = now;
}

void PathMtu::stop() {
    stage_ = Stage::Idle;
    token_ = 0;
    next_ = kNever;
    raise_at_ = kNever;
    raise_s_ = 0;
}

void PathMtu::enter(Stage stage) {
    stage_ = stage;
    tries_ = 0;
    count_ = 0;
    control_ = 0;
    set_low_ = low_;
}

bool PathMtu::wants_search(Time now) const {
    return stage_ == Stage::Idle && raise_at_ != kNever && now >= raise_at_;
}

unsigned PathMtu::tries() const {
    return stage_ == Stage::First ? 1 : stage_ == Stage::Queue ? kQueueTries : kTries;
}

std::span<const std::uint16_t> PathMtu::due(Time now, Time gap, bool full) {
    if (stage_ == Stage::Idle || now < next_) return {};
    if (tries_ == tries() || queue_is_judged() || queue_is_full(gap)) end_of_stage(now, full);
    if (stage_ == Stage::Idle) return {};
    ++tries_;
    if (stage_ == Stage::First && first_ == size_)
        next_ = now + std::min(gap, kFirstWait);
    else
        next_ = now + (tries_ == tries() ? gap : std::min(gap, kPace));
    return volley();
}

// Before all tries were made: the size in use passes, or it fails and that of a hint passes.
bool PathMtu::queue_is_judged() const {
    if (stage_ != Stage::Queue) return false;
    return low_ >= size_ || (hint_ != 0 && low_ == hint_ && control_ >= kControls);
}

// The smallest size fails too often, as far as it could have been acknowledged by now.
bool PathMtu::queue_is_full(Time gap) const {
    if (stage_ != Stage::Queue) return false;
    const auto late = static_cast<unsigned>(gap / std::min(gap, kPace)) + 1;
    return tries_ > late && control_ + (kQueueTries - kQueueControls) < tries_ - late;
}

void PathMtu::add(unsigned size) {
    if (size > low_ && size > set_low_ && size < high_ && size >= kFloor && count_ + 1U < kAtOnce)
        sizes_[count_++] = static_cast<std::uint16_t>(size);
}

// Larger sizes first: their acknowledgements make the smaller ones needless.
std::span<const std::uint16_t> PathMtu::volley() {
    count_ = 0;
    if (stage_ == Stage::First) {
        sizes_[count_++] = first_;
    } else if (stage_ == Stage::Queue) {
        // Few: more would make the queue longer.
        add(size_);
        add(hint_);
        sizes_[count_++] = kFloor;
    } else if (stage_ == Stage::Common) {
        add(size_);
        add(hint_);
        for (const unsigned outer : kCommon) add(outer - overhead_);
        if (kFloor < high_) sizes_[count_++] = kFloor;
    } else {
        const unsigned width = high_ - set_low_;
        const unsigned step = std::max(1U, (width + kParts - 1) / kParts);
        for (unsigned size = set_low_ + step; size < high_; size += step) add(size);
    }
    return {sizes_.data(), count_};
}

void PathMtu::acknowledged(Time now, std::uint16_t size) {
    if (stage_ == Stage::Idle) return;
    if (size == kFloor && control_ < kQueueTries) ++control_;
    if (size <= low_ || size >= high_) return;
    low_ = size;
    if (low_ > size_) take(now, low_);
    if (stage_ == Stage::First || low_ + 1 == high_) finish(now);
}

void PathMtu::end_of_stage(Time now, bool full) {
    if (stage_ == Stage::First) {
        const bool queue = full && first_ == size_ && size_ > kFloor;
        return enter(queue ? Stage::Queue : Stage::Common);
    }
    if (stage_ == Stage::Queue) {
        if (low_ >= size_) return finish(now);
        if (control_ < (queue_is_judged() ? kControls : kQueueControls)) {
            confirmed_ = now + kQueueRest;
            return give_up(now);
        }
        sure_ = true;
        if (!tried_common_) {
            low_ = 0;
            return enter(Stage::Common);
        }
    } else {
        // The smallest of those that were tried and did not pass.
        for (const std::uint16_t size : volley())
            if (size > low_) high_ = std::min(high_, size);
        tried_common_ = true;
        const bool lossy = stage_ == Stage::Common && control_ < kControls && kFloor < size_;
        if (low_ == 0 || (low_ < size_ && lossy)) return give_up(now);
        if (low_ < size_ && full && !sure_) {
            // Its tries count.
            const auto controls = control_;
            enter(Stage::Queue);
            tries_ = kTries;
            control_ = controls;
            return;
        }
    }
    if (low_ < size_) {
        shrunk_ = lowered_ = true;
        take(now, low_);
    }
    if (low_ + 1 >= high_) return finish(now);
    enter(Stage::Split);
}

void PathMtu::take(Time now, std::uint16_t size) {
    size_ = size;
    since_ = now;
}

void PathMtu::finish(Time now) {
    const bool searched = stage_ == Stage::Common || stage_ == Stage::Split || !confirms_;
    stage_ = Stage::Idle;
    token_ = 0;
    if (since_ == 0) since_ = now;
    if (size_ >= ceiling_) {
        raise_at_ = kNever;
        raise_s_ = 0;
    } else if (raise_at_ != kNever && !searched) {
        // It is looked for when it was to be.
    } else if (raise_at_ == kNever || now >= raise_at_ || lowered_) {
        raise_s_ =
            raise_s_ == 0 || lowered_
                ? kFirstRaise
                : std::min<std::uint16_t>(static_cast<std::uint16_t>(3 * raise_s_), kLastRaise);
        raise_at_ = now + raise_s_ * kSecond;
    }
    next_ = raise_at_;
}

void PathMtu::give_up(Time now) {
    stage_ = Stage::Idle;
    token_ = 0;
    if (raise_at_ == kNever || !confirms_) {
        raise_s_ = kFirstRaise;
        raise_at_ = now + kFirstRaise * kSecond;
    }
    next_ = raise_at_;
}

bool PathMtu::take_shrunk() {
    const bool shrunk = shrunk_;
    shrunk_ = false;
    return shrunk;
}

}  // namespace dr::liveness

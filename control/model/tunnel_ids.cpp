// Allocates and frees tunnel ids; keeps freed slots in quarantine.
#include "control/model/tunnel_ids.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "control/model/secrets.h"

namespace dr::control {
namespace {

constexpr std::uint32_t kFirstGeneration = 1;
constexpr std::uint32_t kGenerations = 255;
// The least number of slots to draw from while the data plane's capacity is not confirmed.
constexpr std::uint32_t kFewest = 64;

}  // namespace

std::uint32_t TunnelIds::next_generation(std::uint32_t id) {
    const std::uint32_t next = (id >> 24) == 0xff ? kFirstGeneration : (id >> 24) + 1;
    return (next << 24) | slot(id);
}

std::uint32_t TunnelIds::owner(std::uint32_t id) const {
    return slot(id) < owner_.size() ? owner_[slot(id)] : 0;
}

void TunnelIds::set_capacity(std::uint32_t slots, bool confirmed) {
    capacity_ = std::min(slots, kSlotMask + 1);
    confirmed_ = confirmed;
    pack_.clear();
    packed_ = 1;
}

std::uint64_t TunnelIds::random() {
    if (random_left_ == 0) {
        const std::string bytes = random_bytes(sizeof random_);
        std::memcpy(random_.data(), bytes.data(), sizeof random_);
        random_left_ = random_.size();
    }
    return random_[--random_left_];
}

bool TunnelIds::fresh(std::uint32_t slot) const {
    return slot < capacity_ && owner(slot) == 0 && !current_.contains(slot);
}

std::optional<std::uint32_t> TunnelIds::pick_fresh() {
    // Those that rest cannot be drawn, as those in use.
    const auto taken = used_ + static_cast<std::uint32_t>(current_.size());
    const std::uint32_t end =
        confirmed_ ? capacity_
                   : std::min(capacity_, std::max(kFewest, std::bit_ceil(2 * (taken + 1))));
    while (packed_ < end) pack_.push_back(packed_++);
    while (!pack_.empty()) {
        std::swap(pack_[random() % pack_.size()], pack_.back());
        const std::uint32_t slot = pack_.back();
        if (fresh(slot)) {
            const auto generation =
                kFirstGeneration + static_cast<std::uint32_t>(random() % kGenerations);
            return (generation << 24) | slot;
        }
        pack_.pop_back();
    }
    return std::nullopt;
}

std::optional<std::uint32_t> TunnelIds::pick(Clock::time_point now) {
    while (!resting_.empty()) {
        const Resting& oldest = resting_.front();
        const auto found = current_.find(slot(oldest.id));
        if (found != current_.end() && found->second == oldest.sequence &&
            slot(oldest.id) < capacity_) {
            if (now - oldest.since < quarantine_) break;
            return next_generation(oldest.id);
        }
        resting_.pop_front();
    }
    return pick_fresh();
}

void TunnelIds::take(std::uint32_t id, std::uint32_t subscriber) {
    if (slot(id) >= owner_.size()) owner_.resize(slot(id) + 1);
    if (std::exchange(owner_[slot(id)], subscriber) == 0) ++used_;
    current_.erase(slot(id));
    if (!pack_.empty() && pack_.back() == slot(id)) pack_.pop_back();
}

void TunnelIds::release(std::uint32_t id, Clock::time_point now) {
    owner_[slot(id)] = 0;
    --used_;
    rest(id, now);
}

void TunnelIds::forget(std::uint32_t id) {
    owner_[slot(id)] = 0;
    --used_;
    if (slot(id) < packed_) pack_.push_back(slot(id));
}

void TunnelIds::rest(std::uint32_t id, Clock::time_point now) {
    current_[slot(id)] = ++sequence_;
    resting_.push_back({id, sequence_, now});
}

}  // namespace dr::control

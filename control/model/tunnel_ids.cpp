#include "control/model/tunnel_ids.h"

namespace dr::control {
namespace {

constexpr std::uint32_t kFirstGeneration = 1;

}  // namespace

std::uint32_t TunnelIds::next_generation(std::uint32_t id) {
    const std::uint32_t next = (id >> 24) == 0xff ? kFirstGeneration : (id >> 24) + 1;
    return (next << 24) | slot(id);
}

std::uint32_t TunnelIds::owner(std::uint32_t id) const {
    return slot(id) < owner_.size() ? owner_[slot(id)] : 0;
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
    while (next_fresh_ < capacity_ && (owner(next_fresh_) != 0 || current_.contains(next_fresh_)))
        ++next_fresh_;
    if (next_fresh_ >= capacity_) return std::nullopt;
    return (kFirstGeneration << 24) | next_fresh_;
}

void TunnelIds::take(std::uint32_t id, std::uint32_t subscriber) {
    if (slot(id) >= owner_.size()) owner_.resize(slot(id) + 1);
    owner_[slot(id)] = subscriber;
    current_.erase(slot(id));
}

void TunnelIds::release(std::uint32_t id, Clock::time_point now) {
    owner_[slot(id)] = 0;
    rest(id, now);
}

void TunnelIds::forget(std::uint32_t id) {
    owner_[slot(id)] = 0;
    next_fresh_ = std::min(next_fresh_, slot(id));
}

void TunnelIds::rest(std::uint32_t id, Clock::time_point now) {
    current_[slot(id)] = ++sequence_;
    resting_.push_back({id, sequence_, now});
}

}  // namespace dr::control

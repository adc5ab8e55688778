// Limits the events of each tunnel by a token bucket and counts the rest.
#include "control/events/event_limiter.h"

#include <algorithm>

namespace dr::control {

double EventLimiter::used_at(const Tunnel& tunnel, std::uint64_t at_ns) const {
    const std::uint64_t passed = at_ns - std::min(at_ns, tunnel.at_ns);
    return std::max(0.0, tunnel.used - static_cast<double>(passed) / 60e9 * limits_.per_minute);
}

bool EventLimiter::take(std::uint32_t subscriber, std::uint32_t tunnel, std::uint64_t at_ns) {
    Tunnel& t = tunnels_[std::uint64_t{subscriber} << 32U | tunnel];
    t.used = used_at(t, at_ns);
    t.at_ns = std::max(t.at_ns, at_ns);
    if (t.used + 1 <= limits_.burst) {
        t.used += 1;
        return true;
    }
    if (t.suppressed++ == 0) {
        t.since_ns = t.at_ns;
        ++waiting_;
    }
    return false;
}

std::vector<EventLimiter::Suppressed> EventLimiter::due(std::uint64_t now_ns) {
    std::vector<Suppressed> out;
    if (waiting_ == 0 && tunnels_.size() < clean_at_) return out;
    for (auto at = tunnels_.begin(); at != tunnels_.end();) {
        Tunnel& t = at->second;
        if (t.suppressed != 0 && now_ns >= t.since_ns + limits_.tell_after_ns) {
            out.push_back({static_cast<std::uint32_t>(at->first >> 32U),
                           static_cast<std::uint32_t>(at->first), t.suppressed});
            t.suppressed = 0;
            --waiting_;
        }
        const bool idle = t.suppressed == 0 && used_at(t, now_ns) <= 0;
        at = idle ? tunnels_.erase(at) : std::next(at);
    }
    clean_at_ = std::max<std::size_t>(4096, 2 * tunnels_.size());
    return out;
}

}  // namespace dr::control

// Caches the learned tunnel ends of the liveness memfd.
#include "control/telemetry/learned_ends.h"

#include <algorithm>

namespace dr::control {

void LearnedEnds::refresh() {
    const auto start = Clock::now();
    if (start < stale_at_) return;
    ends_.clear();
    if (const auto live = live_())
        live->each([this](const southbound::LivenessState& row) {
            if (row.family == 4 || row.family == 6)
                ends_.push_back({{row.family, row.endpoint}, row.subscriber});
        });
    std::sort(ends_.begin(), ends_.end());
    const auto end = Clock::now();
    stale_at_ = end + std::max<Clock::duration>(std::chrono::seconds(1), 20 * (end - start));
}

std::optional<LearnedEnds::End> LearnedEnds::inside(const IpPrefix& prefix) {
    refresh();
    const auto at = std::lower_bound(ends_.begin(), ends_.end(), End{prefix.address, 0});
    if (at == ends_.end() || !prefix.contains(at->first)) return std::nullopt;
    return *at;
}

}  // namespace dr::control

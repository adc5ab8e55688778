// The URs' tunnel ends that liveness has learned, which no site's prefix may hold. A sorted copy of
// the data plane's liveness table. It is read again when it is older than a second, or than twenty
// times the time to read it, so that a bulk load does not read it for each object.
//
// One thread at a time: the catalog, which judges under its lock.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/ip.h"
#include "control/telemetry/live_map.h"

namespace dr::control {

class LearnedEnds {
  public:
    using Clock = std::chrono::steady_clock;
    using End = std::pair<IpAddress, std::uint32_t>;  // and drd's id of the subscriber

    // `live`: the present table; null while the data plane is away, and then nothing is known.
    explicit LearnedEnds(std::function<std::shared_ptr<const LiveMap>()> live)
        : live_(std::move(live)) {}

    // One that lies inside the prefix.
    std::optional<End> inside(const IpPrefix& prefix);

  private:
    void refresh();

    std::function<std::shared_ptr<const LiveMap>()> live_;
    std::vector<End> ends_;  // sorted
    Clock::time_point stale_at_{};
};

}  // namespace dr::control

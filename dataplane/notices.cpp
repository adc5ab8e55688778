// Events of the data plane itself, and the same on standard error.
#include "dataplane/notices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

namespace dr {

namespace {

constexpr std::uint64_t kRoutesPauseNs = 10'000'000'000;

}  // namespace

void Notices::health(const PortWatch::Notice& notice, std::uint64_t now_ns) {
    using southbound::EventKind;
    const EventKind port = notice.stalled ? EventKind::PortStalled : EventKind::PortRecovered;
    const EventKind worker = notice.stalled ? EventKind::WorkerStalled : EventKind::WorkerRecovered;
    const auto cause = static_cast<std::uint8_t>(notice.fault);
    server_.publish(notice.worker ? worker : port, notice.number, cause);
    southbound::LivenessMemfd::EventFields event{};
    event.at_ns = now_ns;
    event.kind = notice.worker ? southbound::kWorkerEvent : southbound::kPortEvent;
    event.to = notice.stalled ? 1 : 0;
    event.cause = cause;
    event.value = notice.number;
    const std::string name =
        notice.worker ? std::to_string(notice.number) : config_.ports[notice.number].name;
    std::memcpy(event.endpoint.data(), name.data(), std::min(name.size(), event.endpoint.size()));
    log_.add_event(event);
}

// Seldom: at the edge of room it may change often.
void Notices::routes(std::uint32_t waiting, std::uint64_t now_ns) {
    if ((waiting != 0) == routes_waited_ || now_ns - routes_told_ns_ < kRoutesPauseNs) return;
    routes_waited_ = waiting != 0;
    routes_told_ns_ = now_ns;
    southbound::LivenessMemfd::EventFields event{};
    event.at_ns = now_ns;
    event.kind = southbound::kRoutesEvent;
    event.to = routes_waited_ ? 1 : 0;
    event.value = waiting;
    log_.add_event(event);
    if (routes_waited_)
        fmt::print(stderr,
                   "dr-dataplane: error: {} routes of the kernel find no room in the tables, and "
                   "packets for them go by shorter prefixes: raise capacity.prefixes4/6, "
                   ".groups4/6 or .next_hops\n",
                   waiting);
    else
        fmt::print(stderr, "dr-dataplane: notice: all routes of the kernel have room now\n");
}

}  // namespace dr

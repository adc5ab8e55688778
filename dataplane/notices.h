// What the data plane itself has to report: ports and workers that stand still, routes without
// room. To clients that are connected, to the event log, and to the operator who reads standard
// error.
//
// Thread: the writer.
#pragma once

#include <cstdint>

#include "dataplane/config/config.h"
#include "dataplane/ports/port_watch.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "dataplane/server/server.h"

namespace dr {

class Notices final {
  public:
    // All outlive the object.
    Notices(const Config& config, southbound::Server& server, southbound::LivenessMemfd& log)
        : config_(config), server_(server), log_(log) {}

    // `now_ns`: CLOCK_MONOTONIC.
    void health(const PortWatch::Notice& notice, std::uint64_t now_ns);
    // `waiting`: routes of the kernel that find no room in the tables.
    void routes(std::uint32_t waiting, std::uint64_t now_ns);

  private:
    const Config& config_;
    southbound::Server& server_;
    southbound::LivenessMemfd& log_;
    bool routes_waited_ = false;
    std::uint64_t routes_told_ns_ = 0;
};

}  // namespace dr

// What this router's addresses, and those behind it, mean outside the tables: the sources of its
// ICMP errors, and the destinations that the steering programs take from the kernel.
//
// Thread: the writer.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/ports/netlink_mirror.h"
#include "dataplane/ports/port_set.h"
#include "dataplane/ports/static_config.h"
#include "dataplane/worker/worker.h"
#include "dataplane/writer/table_writer.h"

namespace dr {

class Addresses final {
  public:
    // Of a port whose addresses are in the configuration.
    void add_static(const OwnAddress& address) { static_.push_back(address); }

    // The source of ICMP errors, for each of the `ports` first ports. `mirror` may be null.
    void publish(const NetlinkMirror* mirror, std::uint16_t ports, WorkerShared& shared) const;

    // Tells the steering programs what has changed since the last call. `mirror` may be null.
    void steer(const NetlinkMirror* mirror, const southbound::TableWriter& writer,
               SteeringMaps& maps);

  private:
    std::vector<OwnAddress> static_;
    std::uint64_t locals_seen_ = 0;
    std::uint64_t pools_seen_ = 0;
    bool synced_seen_ = false;
    bool full_ = false;
};

}  // namespace dr

// System.ListDrops: the latest packets that the data plane dropped for a reason, with the names of
// their probable owners.
#pragma once

#include <mutex>

#include "control/api/status.h"
#include "control/telemetry/dropped_frame.h"
#include "control/telemetry/drops_map.h"
#include "control/telemetry/learned_ends.h"

namespace dr::control {

class Drops {
  public:
    Drops(Catalog& catalog, Link& link)
        : catalog_(catalog), link_(link), learned_([&link] { return link.live(); }) {}

    // UNAVAILABLE while the data plane is away; INVALID_ARGUMENT when there is no such exit. Any
    // thread.
    grpc::Status list(const v1::ListDropsRequest& request, v1::ListDropsResponse& response);

  private:
    void name_owner(const southbound::DropState& packet, const DroppedFrame& frame,
                    v1::DroppedPacket& out);
    bool name_by_tunnel(std::uint32_t id, v1::DroppedPacket& out);
    bool name_by_prefix(const IpAddress& address, v1::DroppedPacket::KnownBy by,
                        v1::DroppedPacket& out);
    void name_by_end(const IpAddress& address, v1::DroppedPacket& out);

    Catalog& catalog_;
    Link& link_;
    std::mutex mutex_;  // learned_
    LearnedEnds learned_;
};

}  // namespace dr::control

// dr.v1.System.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "control/api/drops.h"
#include "control/api/status.h"
#include "control/api/watches.h"
#include "control/api/work.h"
#include "control/events/event_tail.h"

namespace dr::control {

class SystemService final : public Worked<v1::System::Service, v1::System> {
  public:
    SystemService(Work& work, Catalog& catalog, Link& link, EventLog& log, EventTail& events,
                  Stopping& stopping, StreamLimit& watches, Journal& journal)
        : Worked(work),
          catalog_(catalog),
          link_(link),
          log_(log),
          events_(events),
          stopping_(stopping),
          watches_(watches),
          journal_(journal),
          drops_(catalog, link) {
        unary("GetStatus", &SystemService::GetStatus);
        unary("SetDrain", &SystemService::SetDrain);
        unary("GetCounters", &SystemService::GetCounters);
        unary("ListExits", &SystemService::ListExits);
        unary("ListDrops", &SystemService::ListDrops);
    }

    grpc::Status GetStatus(grpc::ServerContext*, const google::protobuf::Empty*,
                           v1::SystemStatus*) override;
    grpc::Status SetDrain(grpc::ServerContext*, const v1::SetDrainRequest*,
                          v1::SystemStatus*) override;
    // UNAVAILABLE while the data plane is away.
    grpc::Status GetCounters(grpc::ServerContext*, const google::protobuf::Empty*,
                             v1::CountersSnapshot*) override;
    // Silent while the data plane is away.
    grpc::Status WatchCounters(grpc::ServerContext*, const v1::WatchCountersRequest*,
                               grpc::ServerWriter<v1::CountersSnapshot>*) override;
    grpc::Status ListExits(grpc::ServerContext*, const google::protobuf::Empty*,
                           v1::ListExitsResponse*) override;
    grpc::Status ListDrops(grpc::ServerContext*, const v1::ListDropsRequest*,
                           v1::ListDropsResponse*) override;

  private:
    void fill(v1::SystemStatus& out);
    void fill_keepalives(v1::SystemStatus& out);
    grpc::Status away();

    Catalog& catalog_;
    Link& link_;
    EventLog& log_;
    EventTail& events_;
    Stopping& stopping_;
    StreamLimit& watches_;
    Journal& journal_;
    Drops drops_;
    std::mutex counts_mutex_;  // below
    LiveCounts counts_;
    std::chrono::steady_clock::time_point counted_at_;
    std::string counted_of_;  // incarnation
};

}  // namespace dr::control

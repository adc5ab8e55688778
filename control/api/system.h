// dr.v1.System.
#pragma once

#include "control/api/status.h"

namespace dr::control {

class SystemService final : public v1::System::Service {
  public:
    SystemService(Catalog& catalog, Link& link, Stopping& stopping)
        : catalog_(catalog), link_(link), stopping_(stopping) {}

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

  private:
    void fill(v1::SystemStatus& out);
    grpc::Status away();

    Catalog& catalog_;
    Link& link_;
    Stopping& stopping_;
};

}  // namespace dr::control

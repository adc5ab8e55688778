// dr.v1.Pools.
#pragma once

#include "control/api/status.h"

namespace dr::control {

class PoolsService final : public v1::Pools::Service {
  public:
    explicit PoolsService(Catalog& catalog) : catalog_(catalog) {}

    grpc::Status Create(grpc::ServerContext*, const v1::Pool*, v1::Pool*) override;
    grpc::Status Get(grpc::ServerContext*, const v1::GetRequest*, v1::Pool*) override;
    grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                      v1::ListPoolsResponse*) override;
    grpc::Status Update(grpc::ServerContext*, const v1::Pool*, v1::Pool*) override;
    grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest*,
                        google::protobuf::Empty*) override;

  private:
    Catalog& catalog_;
};

}  // namespace dr::control

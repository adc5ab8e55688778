// dr.v1.Pools.
#pragma once

#include "control/api/status.h"
#include "control/api/work.h"

namespace dr::control {

class PoolsService final : public Worked<v1::Pools::Service, v1::Pools> {
  public:
    PoolsService(Work& work, Catalog& catalog) : Worked(work), catalog_(catalog) {
        unary("Create", &PoolsService::Create);
        unary("Get", &PoolsService::Get);
        unary("List", &PoolsService::List);
        unary("Update", &PoolsService::Update);
        unary("Delete", &PoolsService::Delete);
    }

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

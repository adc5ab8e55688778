// dr.v1.Policies.
#pragma once

#include "control/api/status.h"

namespace dr::control {

class PoliciesService final : public v1::Policies::Service {
  public:
    explicit PoliciesService(Catalog& catalog) : catalog_(catalog) {}

    grpc::Status Create(grpc::ServerContext*, const v1::Policy*, v1::Policy*) override;
    grpc::Status Get(grpc::ServerContext*, const v1::GetRequest*, v1::Policy*) override;
    grpc::Status List(grpc::ServerContext*, const v1::ListRequest*,
                      v1::ListPoliciesResponse*) override;
    grpc::Status Update(grpc::ServerContext*, const v1::Policy*, v1::Policy*) override;
    grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest*,
                        google::protobuf::Empty*) override;

  private:
    Catalog& catalog_;
};

}  // namespace dr::control

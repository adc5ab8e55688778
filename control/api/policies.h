// dr.v1.Policies.
#pragma once

#include "control/api/status.h"
#include "control/api/work.h"

namespace dr::control {

class PoliciesService final : public Worked<v1::Policies::Service, v1::Policies> {
  public:
    PoliciesService(Work& work, Catalog& catalog) : Worked(work), catalog_(catalog) {
        unary("Create", &PoliciesService::Create);
        unary("Get", &PoliciesService::Get);
        unary("List", &PoliciesService::List);
        unary("Update", &PoliciesService::Update);
        unary("Delete", &PoliciesService::Delete);
    }

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

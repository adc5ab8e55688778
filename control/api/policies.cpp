// Serves dr.v1.Policies from the catalog.
#include "control/api/policies.h"

#include "control/api/crud.h"

namespace dr::control {

grpc::Status PoliciesService::Create(grpc::ServerContext*, const v1::Policy* request,
                                     v1::Policy* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Create, *request, response); });
}

grpc::Status PoliciesService::Get(grpc::ServerContext*, const v1::GetRequest* request,
                                  v1::Policy* response) {
    return guarded([&] { return get(catalog_, "policy", request->name(), response); });
}

grpc::Status PoliciesService::List(grpc::ServerContext*, const v1::ListRequest* request,
                                   v1::ListPoliciesResponse* response) {
    return guarded([&] {
        return list<v1::Policy>(catalog_, *request, {}, response->mutable_next_page_token(),
                                [&] { return response->add_policies(); });
    });
}

grpc::Status PoliciesService::Update(grpc::ServerContext*, const v1::Policy* request,
                                     v1::Policy* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Update, *request, response); });
}

grpc::Status PoliciesService::Delete(grpc::ServerContext*, const v1::DeleteRequest* request,
                                     google::protobuf::Empty*) {
    return guarded([&] { return remove<v1::Policy>(catalog_, *request); });
}

}  // namespace dr::control

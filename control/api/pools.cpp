// Serves dr.v1.Pools from the catalog.
#include "control/api/pools.h"

#include "control/api/crud.h"

namespace dr::control {

grpc::Status PoolsService::Create(grpc::ServerContext*, const v1::Pool* request,
                                  v1::Pool* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Create, *request, response); });
}

grpc::Status PoolsService::Get(grpc::ServerContext*, const v1::GetRequest* request,
                               v1::Pool* response) {
    return guarded([&] { return get(catalog_, "pool", request->name(), response); });
}

grpc::Status PoolsService::List(grpc::ServerContext*, const v1::ListRequest* request,
                                v1::ListPoolsResponse* response) {
    return guarded([&] {
        return list<v1::Pool>(catalog_, *request, {}, response->mutable_next_page_token(),
                              [&] { return response->add_pools(); });
    });
}

grpc::Status PoolsService::Update(grpc::ServerContext*, const v1::Pool* request,
                                  v1::Pool* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Update, *request, response); });
}

grpc::Status PoolsService::Delete(grpc::ServerContext*, const v1::DeleteRequest* request,
                                  google::protobuf::Empty*) {
    return guarded([&] { return remove<v1::Pool>(catalog_, *request); });
}

}  // namespace dr::control

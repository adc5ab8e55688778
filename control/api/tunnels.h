// dr.v1.Tunnels.
#pragma once

#include "control/api/status.h"
#include "control/api/watches.h"
#include "control/api/work.h"

namespace dr::control {

class TunnelsService final : public Worked<v1::Tunnels::Service, v1::Tunnels> {
  public:
    TunnelsService(Work& work, Catalog& catalog, Link& link, Stopping& stopping,
                   StreamLimit& watches)
        : Worked(work), catalog_(catalog), link_(link), stopping_(stopping), watches_(watches) {
        unary("List", &TunnelsService::List);
    }

    grpc::Status List(grpc::ServerContext*, const v1::ListTunnelsRequest*,
                      v1::ListTunnelsResponse*) override;
    grpc::Status Watch(grpc::ServerContext*, const v1::WatchTunnelsRequest*,
                       grpc::ServerWriter<v1::ListTunnelsResponse>*) override;

  private:
    struct Token;
    class Page;
    grpc::Status collect(const v1::ListTunnelsRequest& request, std::uint64_t max_work,
                         v1::ListTunnelsResponse& response);
    grpc::Status collect_one(const v1::ListTunnelsRequest& request, const Token& token, Page& page);

    Catalog& catalog_;
    Link& link_;
    Stopping& stopping_;
    StreamLimit& watches_;
};

}  // namespace dr::control

// dr.v1.Subscribers.
#pragma once

#include "control/api/change_feed.h"
#include "control/api/status.h"
#include "control/api/watches.h"
#include "control/api/work.h"
#include "control/signalling/credentials.h"
#include "control/signalling/hub.h"

namespace dr::control {

// The configuration of the site's end: the subscriber as seen from the UR, with local and remote
// swapped.
v1::UserRouterConfig user_router_config(const v1::Subscriber& subscriber, const v1::Policy& policy);

class SubscribersService final : public Worked<v1::Subscribers::Service, v1::Subscribers> {
  public:
    SubscribersService(Work& work, Catalog& catalog, ChangeFeed& feed, Stopping& stopping,
                       Credentials& credentials, SignallingHub& hub, StreamLimit& watches,
                       Journal& journal)
        : Worked(work),
          catalog_(catalog),
          feed_(feed),
          stopping_(stopping),
          credentials_(credentials),
          hub_(hub),
          watches_(watches),
          journal_(journal) {
        unary("Create", &SubscribersService::Create);
        unary("Get", &SubscribersService::Get);
        unary("List", &SubscribersService::List);
        unary("Update", &SubscribersService::Update);
        unary("Delete", &SubscribersService::Delete);
        unary("GetUserRouterConfig", &SubscribersService::GetUserRouterConfig);
        unary("Enroll", &SubscribersService::Enroll);
        unary("Revoke", &SubscribersService::Revoke);
        unary("RevokeOlder", &SubscribersService::RevokeOlder);
        unary("ListCredentials", &SubscribersService::ListCredentials);
        unary("RotateKeys", &SubscribersService::RotateKeys);
        unary("ListAttachments", &SubscribersService::ListAttachments);
    }

    grpc::Status Create(grpc::ServerContext*, const v1::Subscriber*, v1::Subscriber*) override;
    grpc::Status Get(grpc::ServerContext*, const v1::GetRequest*, v1::Subscriber*) override;
    grpc::Status List(grpc::ServerContext*, const v1::ListSubscribersRequest*,
                      v1::ListSubscribersResponse*) override;
    grpc::Status Update(grpc::ServerContext*, const v1::Subscriber*, v1::Subscriber*) override;
    grpc::Status Delete(grpc::ServerContext*, const v1::DeleteRequest*,
                        google::protobuf::Empty*) override;
    grpc::Status Watch(grpc::ServerContext*, const v1::WatchRequest*,
                       grpc::ServerWriter<v1::SubscriberEvent>*) override;
    grpc::Status GetUserRouterConfig(grpc::ServerContext*, const v1::GetRequest*,
                                     v1::UserRouterConfig*) override;

    grpc::Status Enroll(grpc::ServerContext*, const v1::EnrollRequest*, v1::Credentials*) override;
    grpc::Status Revoke(grpc::ServerContext*, const v1::GetRequest*, v1::RevokeResponse*) override;
    grpc::Status RevokeOlder(grpc::ServerContext*, const v1::GetRequest*,
                             v1::RevokeResponse*) override;
    grpc::Status ListCredentials(grpc::ServerContext*, const v1::ListCredentialsRequest*,
                                 v1::ListCredentialsResponse*) override;
    grpc::Status RotateKeys(grpc::ServerContext*, const v1::GetRequest*, v1::Subscriber*) override;
    grpc::Status ListAttachments(grpc::ServerContext*, const v1::ListAttachmentsRequest*,
                                 v1::ListAttachmentsResponse*) override;

  private:
    void tell_revoked(const std::string& name, std::uint32_t certificates);
    class Watching;

    Catalog& catalog_;
    ChangeFeed& feed_;
    Stopping& stopping_;
    Credentials& credentials_;
    SignallingHub& hub_;
    StreamLimit& watches_;
    Journal& journal_;
};

}  // namespace dr::control

#include "control/api/subscribers.h"

#include "control/api/crud.h"
#include "control/southbound/records.h"

namespace dr::control {
v1::UserRouterConfig user_router_config(const v1::Subscriber& s, const v1::Policy& policy) {
    v1::UserRouterConfig config;
    config.set_subscriber(s.name());
    *config.mutable_prefixes() = s.prefixes();
    *config.mutable_policy() = policy;
    config.set_hash_seed(s.hash_seed());
    for (const auto& tunnel : s.tunnels()) {
        auto& out = *config.add_tunnels();
        out.set_line(tunnel.line());
        out.set_encapsulation(tunnel.encapsulation());
        out.set_local(tunnel.remote());
        out.set_remote(tunnel.local());
        out.set_id(tunnel.id());
        // A fixed remote port of the DR's is the port that the UR must send from.
        out.set_local_port(tunnel.has_remote_port() ? tunnel.remote_port() : 0);
        out.set_mtu(effective_mtu(tunnel));
    }
    return config;
}

grpc::Status SubscribersService::Create(grpc::ServerContext*, const v1::Subscriber* request,
                                        v1::Subscriber* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Create, *request, response); });
}

grpc::Status SubscribersService::Get(grpc::ServerContext*, const v1::GetRequest* request,
                                     v1::Subscriber* response) {
    return guarded([&] { return get(catalog_, "subscriber", request->name(), response); });
}

grpc::Status SubscribersService::List(grpc::ServerContext*,
                                      const v1::ListSubscribersRequest* request,
                                      v1::ListSubscribersResponse* response) {
    Catalog::Query query;
    query.policy = request->policy();
    if (!request->within().empty()) {
        std::string error;
        query.within = parse_prefix_or_address(request->within(), error);
        if (!query.within) return invalid_argument("within", error);
    }
    return guarded([&] {
        return list<v1::Subscriber>(catalog_, *request, query, response->mutable_next_page_token(),
                                    [&] { return response->add_subscribers(); });
    });
}

grpc::Status SubscribersService::Update(grpc::ServerContext*, const v1::Subscriber* request,
                                        v1::Subscriber* response) {
    return guarded([&] { return change(catalog_, Request::Mode::Update, *request, response); });
}

grpc::Status SubscribersService::Delete(grpc::ServerContext*, const v1::DeleteRequest* request,
                                        google::protobuf::Empty*) {
    return guarded([&] { return remove<v1::Subscriber>(catalog_, *request); });
}

grpc::Status SubscribersService::Watch(grpc::ServerContext* context,
                                       const v1::WatchRequest* request,
                                       grpc::ServerWriter<v1::SubscriberEvent>* writer) {
    return guarded([&] {
        std::shared_ptr<ChangeFeed::Watcher> watcher;
        auto view = catalog_.view([&] { watcher = feed_.watch(); });
        v1::SubscriberEvent event;
        event.set_type(v1::SubscriberEvent::EXISTING);
        bool open = true;
        view.snapshot->for_each(Kind::Subscriber, [&](std::uint32_t, std::string_view bytes) {
            event.mutable_subscriber()->ParseFromArray(bytes.data(),
                                                       static_cast<int>(bytes.size()));
            if (event.subscriber().name().starts_with(request->name_prefix()))
                open = writer->Write(event);
            return open && !stopping_.wait_for(std::chrono::milliseconds(0));
        });
        view.snapshot.reset();
        event.Clear();
        event.set_type(v1::SubscriberEvent::SYNCED);
        if (!open || !writer->Write(event)) return grpc::Status::OK;
        return follow(*context, *watcher, request->name_prefix(), *writer);
    });
}

grpc::Status SubscribersService::follow(grpc::ServerContext& context, ChangeFeed::Watcher& watcher,
                                        const std::string& name_prefix,
                                        grpc::ServerWriter<v1::SubscriberEvent>& writer) {
    while (!context.IsCancelled() && !stopping_.wait_for(std::chrono::milliseconds(0))) {
        for (const auto& change : watcher.take(std::chrono::milliseconds(200))) {
            if (!change.subscriber->name().starts_with(name_prefix)) continue;
            v1::SubscriberEvent event;
            event.set_type(change.deleted ? v1::SubscriberEvent::DELETED
                                          : v1::SubscriberEvent::UPSERTED);
            *event.mutable_subscriber() = *change.subscriber;
            if (!writer.Write(event)) return grpc::Status::OK;
        }
        if (watcher.overflowed())
            return {grpc::StatusCode::RESOURCE_EXHAUSTED,
                    "the watch reads more slowly than changes come; start it again"};
    }
    return grpc::Status::OK;
}

grpc::Status SubscribersService::GetUserRouterConfig(grpc::ServerContext*,
                                                     const v1::GetRequest* request,
                                                     v1::UserRouterConfig* response) {
    return guarded([&] {
        v1::Subscriber subscriber;
        if (auto s = get(catalog_, "subscriber", request->name(), &subscriber); !s.ok()) return s;
        v1::Policy policy;
        if (auto s = get(catalog_, "policy", subscriber.policy(), &policy); !s.ok()) return s;
        *response = user_router_config(subscriber, policy);
        return grpc::Status::OK;
    });
}

}  // namespace dr::control

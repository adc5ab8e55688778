// Serves dr.v1.Subscribers: create to delete, watches, UR configurations.
#include "control/api/subscribers.h"

#include <algorithm>

#include "control/api/crud.h"
#include "control/model/records.h"

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
        query.within = parse_prefix_or_address(request->within(), &error);
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

// One watch. The existing subscribers are sent in pages. Each page has a snapshot of its own, which
// is released before the page is written, so that a client that does not read holds back no part of
// the store's log.
class SubscribersService::Watching {
  public:
    Watching(Catalog& catalog, ChangeFeed& feed, Stopping& stopping, grpc::ServerContext& context,
             const std::string& name_prefix, grpc::ServerWriter<v1::SubscriberEvent>& writer)
        : catalog_(catalog),
          stopping_(stopping),
          context_(context),
          name_prefix_(name_prefix),
          writer_(writer),
          // Before the first page: a change is in a page, or waits here, or both.
          changes_(feed.watch()) {}

    grpc::Status run() {
        for (bool more = true; more;) {
            more = read_page();
            for (const auto& event : page_)
                if (!open() || !writer_.Write(event)) return grpc::Status::OK;
            if (changes_->overflowed()) return too_slow();
        }
        page_ = {};
        v1::SubscriberEvent synced;
        synced.set_type(v1::SubscriberEvent::SYNCED);
        if (!writer_.Write(synced)) return grpc::Status::OK;
        return follow();
    }

  private:
    static constexpr std::size_t kPageBytes = 256 << 10;
    // Subscribers read for one page, whether or not they match.
    static constexpr std::size_t kPageVisits = 5000;

    [[nodiscard]] bool open() {
        return !context_.IsCancelled() && !stopping_.wait_for(std::chrono::milliseconds(0));
    }
    static grpc::Status too_slow() {
        return {grpc::StatusCode::RESOURCE_EXHAUSTED,
                "the watch reads more slowly than changes come; start it again"};
    }
    // False: it was the last one.
    bool read_page() {
        page_.clear();
        std::size_t bytes_read = 0;
        std::size_t visits = 0;
        bool more = false;
        std::int64_t revision = 0;
        const auto snapshot = catalog_.snapshot(revision);
        snapshot->for_each_after(Kind::Subscriber, last_id_,
                                 [&](std::uint32_t id, std::string_view bytes) {
                                     if (bytes_read >= kPageBytes || visits >= kPageVisits) {
                                         more = true;
                                         return false;
                                     }
                                     ++visits;
                                     last_id_ = id;
                                     v1::SubscriberEvent event;
                                     event.set_type(v1::SubscriberEvent::EXISTING);
                                     event.mutable_subscriber()->ParseFromArray(
                                         bytes.data(), static_cast<int>(bytes.size()));
                                     if (!event.subscriber().name().starts_with(name_prefix_))
                                         return true;
                                     bytes_read += bytes.size();
                                     page_.push_back(std::move(event));
                                     return true;
                                 });
        shown_.emplace_back(more ? last_id_ : UINT32_MAX, revision);
        return more;
    }
    // The subscriber's page, or the page where it would have been, already includes this change.
    [[nodiscard]] bool was_shown(const v1::Subscriber& s) const {
        const auto page = std::lower_bound(
            shown_.begin(), shown_.end(), s.id(),
            [](const auto& candidate, std::uint32_t id) { return candidate.first < id; });
        return page != shown_.end() && s.revision() <= page->second;
    }
    grpc::Status follow() {
        while (open()) {
            for (const auto& change : changes_->take(std::chrono::milliseconds(200))) {
                if (!change.subscriber->name().starts_with(name_prefix_)) continue;
                if (!change.deleted && was_shown(*change.subscriber)) continue;
                v1::SubscriberEvent event;
                event.set_type(change.deleted ? v1::SubscriberEvent::DELETED
                                              : v1::SubscriberEvent::UPSERTED);
                *event.mutable_subscriber() = *change.subscriber;
                if (!writer_.Write(event)) return grpc::Status::OK;
            }
            if (changes_->overflowed()) return too_slow();
        }
        return grpc::Status::OK;
    }

    Catalog& catalog_;
    Stopping& stopping_;
    grpc::ServerContext& context_;
    const std::string& name_prefix_;
    grpc::ServerWriter<v1::SubscriberEvent>& writer_;
    const std::shared_ptr<ChangeFeed::Watcher> changes_;
    std::uint32_t last_id_ = 0;
    std::vector<v1::SubscriberEvent> page_;
    std::vector<std::pair<std::uint32_t, std::int64_t>> shown_;  // last id, revision of each page
};

grpc::Status SubscribersService::Watch(grpc::ServerContext* context,
                                       const v1::WatchRequest* request,
                                       grpc::ServerWriter<v1::SubscriberEvent>* writer) {
    return guarded([&] {
        const auto place = watches_.enter(caller_of(*context));
        if (!place.valid()) return watches_.refusal();
        return Watching(catalog_, feed_, stopping_, *context, request->name_prefix(), *writer)
            .run();
    });
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

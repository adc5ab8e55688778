#include "control/api/tunnels.h"

#include <algorithm>

#include "control/api/crud.h"

namespace dr::control {
namespace {

// Subscribers read at a time: each may have up to 16 tunnels.
constexpr std::uint32_t kStep = 1000;

std::uint64_t steady_ns() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// Fills a page with the tunnels that match.
class Page {
  public:
    Page(const v1::ListTunnelsRequest& request, std::uint32_t limit, Link& link,
         v1::ListTunnelsResponse& response)
        : request_(request),
          limit_(static_cast<int>(limit)),
          counters_(link.counters()),
          status_(link.status(false)),
          now_(steady_ns()),
          response_(response) {}

    [[nodiscard]] bool full() const { return response_.tunnels_size() >= limit_; }

    void add(const v1::Subscriber& s) {
        for (const auto& tunnel : s.tunnels()) {
            if (!request_.line().empty() && tunnel.line() != request_.line()) continue;
            if (request_.id() != 0 && tunnel.id() != request_.id()) continue;
            auto& out = *response_.add_tunnels();
            out.set_subscriber(s.name());
            *out.mutable_tunnel() = tunnel;
            const bool installed = status_.known && status_.state != LinkState::Absent &&
                                   s.revision() <= status_.installed_revision;
            out.set_state(installed ? v1::TunnelStatus::STATIC : v1::TunnelStatus::PENDING);
            if (counters_) add_counters(tunnel.id(), *out.mutable_counters());
        }
    }

  private:
    void add_counters(std::uint32_t id, v1::TunnelCounters& out) {
        const auto c = counters_->tunnel(id);
        out.set_downlink_packets(c.downlink_packets);
        out.set_downlink_bytes(c.downlink_bytes);
        out.set_uplink_packets(c.uplink_packets);
        out.set_uplink_bytes(c.uplink_bytes);
        out.set_incarnation(counters_->incarnation());
        out.set_sampled_at_ns(now_);
    }

    const v1::ListTunnelsRequest& request_;
    int limit_;
    std::shared_ptr<const CountersMap> counters_;
    LinkStatus status_;
    std::uint64_t now_;
    v1::ListTunnelsResponse& response_;
};

}  // namespace

// A page ends with a whole subscriber, whose name is the token of the next.
grpc::Status TunnelsService::collect(const v1::ListTunnelsRequest& request,
                                     v1::ListTunnelsResponse& response) {
    std::uint32_t limit = 0;
    if (auto status = page_limit(request.page_size(), limit); !status.ok()) return status;
    Page page(request, limit, link_, response);
    if (!request.subscriber().empty() || request.id() != 0) {
        std::optional<v1::Subscriber> s;
        if (request.id() != 0)
            s = catalog_.subscriber_by_tunnel(request.id());
        else if (auto found = catalog_.get(Kind::Subscriber, request.subscriber()))
            s = std::get<v1::Subscriber>(std::move(*found));
        if (!s && request.id() == 0) return not_found("subscriber", request.subscriber());
        if (s && (request.subscriber().empty() || s->name() == request.subscriber())) page.add(*s);
        return grpc::Status::OK;
    }
    Catalog::Query query;
    query.after = request.page_token();
    query.limit = std::min(limit, kStep);
    for (;;) {
        const auto subscribers = catalog_.list(Kind::Subscriber, query);
        for (std::size_t i = 0; i < subscribers.objects.size(); ++i) {
            const auto& s = std::get<v1::Subscriber>(subscribers.objects[i]);
            page.add(s);
            const bool more = i + 1 < subscribers.objects.size() || !subscribers.next.empty();
            if (page.full() && more) {
                response.set_next_page_token(s.name());
                return grpc::Status::OK;
            }
        }
        if (subscribers.next.empty()) return grpc::Status::OK;
        query.after = subscribers.next;
    }
}

grpc::Status TunnelsService::List(grpc::ServerContext*, const v1::ListTunnelsRequest* request,
                                  v1::ListTunnelsResponse* response) {
    return guarded([&] { return collect(*request, *response); });
}

grpc::Status TunnelsService::Watch(grpc::ServerContext* context,
                                   const v1::WatchTunnelsRequest* request,
                                   grpc::ServerWriter<v1::ListTunnelsResponse>* writer) {
    return guarded([&] {
        const auto interval = watch_interval(request->interval_ms());
        while (!context->IsCancelled()) {
            v1::ListTunnelsResponse response;
            if (auto status = collect(request->filter(), response); !status.ok()) return status;
            if (!writer->Write(response) || stopping_.wait_for(interval)) break;
        }
        return grpc::Status::OK;
    });
}

}  // namespace dr::control

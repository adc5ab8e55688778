#include "control/api/tunnels.h"

#include <algorithm>
#include <charconv>

#include "control/api/crud.h"

namespace dr::control {
namespace {

// Subscribers read at a time: each may have up to 16 tunnels.
constexpr std::uint32_t kStep = 1000;

std::uint64_t steady_ns() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// A page token: the subscriber that the page before ended in, and its next tunnel.
struct Token {
    std::string subscriber;
    int tunnel = 0;

    [[nodiscard]] std::string text() const { return subscriber + "/" + std::to_string(tunnel); }
    bool parse(const std::string& text) {
        if (text.empty()) return true;
        const std::size_t slash = text.rfind('/');
        if (slash == std::string::npos) return false;
        subscriber = text.substr(0, slash);
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data() + slash + 1, end, tunnel);
        return parsed.ec == std::errc{} && parsed.ptr == end && tunnel >= 0;
    }
};

// Whether the page's token points behind the last tunnel of `s`.
bool page_ends_with(const v1::ListTunnelsResponse& page, const v1::Subscriber& s) {
    return page.next_page_token() == Token{s.name(), s.tunnels_size()}.text();
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

    // The tunnels of `s` from number `from` on that match, as far as there is room. Returns the
    // number of the first one that was not looked at; the count of tunnels when all were.
    int add(const v1::Subscriber& s, int from = 0) {
        int i = from;
        for (; i < s.tunnels_size() && !full(); ++i) {
            const auto& tunnel = s.tunnels(i);
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
        return i;
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

grpc::Status TunnelsService::collect(const v1::ListTunnelsRequest& request,
                                     v1::ListTunnelsResponse& response) {
    std::uint32_t limit = 0;
    if (auto status = page_limit(request.page_size(), limit); !status.ok()) return status;
    Token token;
    if (!token.parse(request.page_token()))
        return invalid_argument("page_token", "is not one that a List has returned");
    Page page(request, limit, link_, response);
    const auto take = [&](const v1::Subscriber& s, int from) {
        const int next = page.add(s, from);
        if (page.full()) response.set_next_page_token(Token{s.name(), next}.text());
        return !page.full();
    };
    const bool one = !request.subscriber().empty() || request.id() != 0;
    if (one || !token.subscriber.empty()) {
        std::optional<v1::Subscriber> s;
        if (request.id() != 0)
            s = catalog_.subscriber_by_tunnel(request.id());
        else if (auto found =
                     catalog_.get(Kind::Subscriber, one ? request.subscriber() : token.subscriber))
            s = std::get<v1::Subscriber>(std::move(*found));
        if (!s && one && request.id() == 0) return not_found("subscriber", request.subscriber());
        if (s && (request.subscriber().empty() || s->name() == request.subscriber())) {
            const bool more = !take(*s, token.tunnel);
            if (one && more && page_ends_with(response, *s)) response.clear_next_page_token();
            if (one || more) return grpc::Status::OK;
        }
        if (one) return grpc::Status::OK;
    }
    Catalog::Query query;
    query.after = token.subscriber;
    query.limit = std::min(limit, kStep);
    for (;;) {
        const auto subscribers = catalog_.list(Kind::Subscriber, query);
        for (std::size_t i = 0; i < subscribers.objects.size(); ++i) {
            const auto& s = std::get<v1::Subscriber>(subscribers.objects[i]);
            if (take(s, 0)) continue;
            const bool last = i + 1 == subscribers.objects.size() && subscribers.next.empty();
            if (last && page_ends_with(response, s)) response.clear_next_page_token();
            return grpc::Status::OK;
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

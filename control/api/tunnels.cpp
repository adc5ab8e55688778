// Serves dr.v1.Tunnels: filters and pages tunnels and adds their live state.
#include "control/api/tunnels.h"

#include <algorithm>
#include <charconv>

#include "control/api/crud.h"
#include "control/telemetry/live_proto.h"

namespace dr::control {
namespace {

// Subscribers read at a time: each may have up to 16 tunnels.
constexpr std::uint32_t kStep = 1000;
// The work for one page, in subscribers read from the store; looking at an index entry is cheaper.
constexpr std::uint64_t kMaxWork = 10'000;
constexpr std::uint64_t kVisitsOfARead = 10;

std::uint64_t steady_ns() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

}  // namespace

// A page token: "CATALOG-TOKEN|SUBSCRIBER|TUNNEL", where the page begins in the list of subscribers
// and with which tunnel of that subscriber. Another subscriber there begins with its first tunnel.
struct TunnelsService::Token {
    std::string list;
    std::string subscriber;
    int tunnel = 0;

    [[nodiscard]] std::string text() const {
        return list + "|" + subscriber + "|" + std::to_string(tunnel);
    }
    static Token parse(const std::string& text) {
        Token token;
        if (text.empty()) return token;
        const std::size_t first = text.find('|');
        const std::size_t second = text.rfind('|');
        if (first == second) throw std::invalid_argument("page token");
        token.list = text.substr(0, first);
        token.subscriber = text.substr(first + 1, second - first - 1);
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data() + second + 1, end, token.tunnel);
        if (parsed.ec != std::errc{} || parsed.ptr != end || token.tunnel < 0)
            throw std::invalid_argument("page token");
        return token;
    }
    [[nodiscard]] int start_in(const v1::Subscriber& s) const {
        return s.name() == subscriber ? tunnel : 0;
    }
};

// Fills a page with the tunnels that match.
class TunnelsService::Page {
  public:
    Page(Catalog& catalog, const v1::ListTunnelsRequest& request, std::uint32_t limit, Link& link,
         v1::ListTunnelsResponse& response)
        : catalog_(catalog),
          request_(request),
          limit_(static_cast<int>(limit)),
          counters_(link.counters()),
          live_(link.live()),
          drops_(link.drops()),
          status_(link.status(false)),
          now_(steady_ns()),
          response_(response) {}

    void go_on_at(const Token& token) { response_.set_next_page_token(token.text()); }
    [[nodiscard]] bool full() const { return response_.tunnels_size() >= limit_; }

    // The tunnels of `s` from number `from` on that match, as far as there is room. Returns the
    // number of the first one that was not looked at; the count of tunnels when all were.
    int add(const v1::Subscriber& s, int from = 0) {
        const bool installed = status_.known && status_.state != LinkState::Absent &&
                               s.revision() <= status_.installed_revision;
        int i = from;
        for (; i < s.tunnels_size() && !full(); ++i) {
            const auto& tunnel = s.tunnels(i);
            if (!matches(tunnel)) continue;
            const Live live = live_of(tunnel, installed);
            if (!matches(live)) continue;
            auto& out = *response_.add_tunnels();
            out.set_subscriber(s.name());
            *out.mutable_tunnel() = tunnel;
            out.set_state(live.state);
            if (counters_) add_counters(tunnel.id(), *out.mutable_counters());
            if (live.known) add_liveness(s, *live.known, *out.mutable_liveness());
            if (counters_ && drops_ && (request_.id() != 0 || !request_.subscriber().empty()))
                add_drops(tunnel.id(), out);
        }
        return i;
    }

  private:
    struct Live {
        v1::TunnelStatus::State state;
        std::optional<southbound::LivenessState> known;
    };
    [[nodiscard]] Live live_of(const v1::Tunnel& tunnel, bool installed) const {
        if (tunnel.key_number() == 0)
            return {installed ? v1::TunnelStatus::STATIC : v1::TunnelStatus::PENDING, {}};
        auto known = live_ ? live_->tunnel(tunnel.id()) : std::nullopt;
        const auto state = known ? to_state(known->state) : v1::TunnelStatus::PENDING;
        return {state, known};
    }
    [[nodiscard]] bool matches(const Live& live) const {
        return (request_.state() == v1::TunnelStatus::STATE_UNSPECIFIED ||
                live.state == request_.state()) &&
               (!request_.troubled() || (live.known && troubled(*live.known)));
    }
    [[nodiscard]] bool matches(const v1::Tunnel& tunnel) const {
        return (request_.line().empty() || tunnel.line() == request_.line()) &&
               (request_.id() == 0 || tunnel.id() == request_.id()) &&
               (request_.encapsulation() == v1::ENCAPSULATION_UNSPECIFIED ||
                tunnel.encapsulation() == request_.encapsulation());
    }
    void add_counters(std::uint32_t id, v1::TunnelCounters& out) {
        const auto c = counters_->tunnel(id);
        out.set_downlink_packets(c.downlink_packets);
        out.set_downlink_bytes(c.downlink_bytes);
        out.set_uplink_packets(c.uplink_packets);
        out.set_uplink_bytes(c.uplink_bytes);
        out.set_incarnation(counters_->incarnation());
        out.set_sampled_at_ns(now_);
    }

    // Only for few tunnels: the first read of a page of this table allocates it.
    void add_drops(std::uint32_t id, v1::TunnelStatus& out) {
        const DropsMap::OfTunnel drops = drops_->tunnel(id);
        const auto add = [&out](std::string exit, std::uint64_t packets) {
            if (packets == 0) return;
            auto& to = *out.add_drops();
            to.set_exit(std::move(exit));
            to.set_packets(packets);
        };
        for (const auto& [exit, packets] : drops.by_exit) add(counters_->exit_name(exit), packets);
        std::sort(out.mutable_drops()->begin(), out.mutable_drops()->end(),
                  [](const auto& a, const auto& b) { return a.packets() > b.packets(); });
        add({}, drops.others);
    }

    void add_liveness(const v1::Subscriber& s, const southbound::LivenessState& known,
                      v1::TunnelLiveness& out) {
        fill_liveness(known, clock_, out);
        if (!breaks_limits(known)) return;
        const auto policy = catalog_.get(Kind::Policy, s.policy());
        if (policy) fill_broken_limits(known, std::get<v1::Policy>(*policy), out);
    }

    Catalog& catalog_;
    const v1::ListTunnelsRequest& request_;
    int limit_;
    std::shared_ptr<const CountersMap> counters_;
    std::shared_ptr<const LiveMap> live_;
    std::shared_ptr<const DropsMap> drops_;
    WallClock clock_;
    LinkStatus status_;
    std::uint64_t now_;
    v1::ListTunnelsResponse& response_;
};

// The tunnels of one subscriber: the named one, or the owner of the tunnel id.
grpc::Status TunnelsService::collect_one(const v1::ListTunnelsRequest& request, const Token& token,
                                         Page& page) {
    std::optional<v1::Subscriber> s;
    if (request.id() != 0)
        s = catalog_.subscriber_by_tunnel(request.id());
    else if (auto found = catalog_.get(Kind::Subscriber, request.subscriber()))
        s = std::get<v1::Subscriber>(std::move(*found));
    else
        return not_found("subscriber", request.subscriber());
    if (!s || (!request.subscriber().empty() && s->name() != request.subscriber()))
        return grpc::Status::OK;
    const int next = page.add(*s, token.start_in(*s));
    if (next < s->tunnels_size()) page.go_on_at({token.list, s->name(), next});
    return grpc::Status::OK;
}

grpc::Status TunnelsService::collect(const v1::ListTunnelsRequest& request, std::uint64_t max_work,
                                     v1::ListTunnelsResponse& response) {
    std::uint32_t limit = 0;
    if (auto status = page_limit(request.page_size(), limit); !status.ok()) return status;
    const Token token = Token::parse(request.page_token());
    Page page(catalog_, request, limit, link_, response);
    if (!request.subscriber().empty() || request.id() != 0)
        return collect_one(request, token, page);
    Catalog::Query query;
    query.token = token.list;
    query.name_prefix = request.name_prefix();
    query.line = request.line();
    if (!request.within().empty()) {
        std::string error;
        query.within = parse_prefix_or_address(request.within(), &error);
        if (!query.within) return invalid_argument("within", error);
    }
    std::uint64_t work = 0;
    do {
        query.limit = std::min(limit - static_cast<std::uint32_t>(response.tunnels_size()), kStep);
        const auto subscribers = catalog_.list(Kind::Subscriber, query);
        for (std::size_t i = 0; i < subscribers.objects.size(); ++i) {
            const auto& s = std::get<v1::Subscriber>(subscribers.objects[i]);
            const int next = page.add(s, token.start_in(s));
            const bool all = next == s.tunnels_size();
            if (!page.full()) continue;
            if (!all)
                page.go_on_at({subscribers.at[i], s.name(), next});
            else if (i + 1 < subscribers.objects.size())
                page.go_on_at({subscribers.at[i + 1], {}, 0});
            else if (!subscribers.next.empty())
                page.go_on_at({subscribers.next, {}, 0});
            return grpc::Status::OK;
        }
        if (subscribers.next.empty()) return grpc::Status::OK;
        query.token = subscribers.next;
        work += subscribers.read + subscribers.visited / kVisitsOfARead;
    } while (work < max_work);
    page.go_on_at({query.token, {}, 0});
    return grpc::Status::OK;
}

grpc::Status TunnelsService::List(grpc::ServerContext*, const v1::ListTunnelsRequest* request,
                                  v1::ListTunnelsResponse* response) {
    return guarded([&] { return collect(*request, kMaxWork, *response); });
}

grpc::Status TunnelsService::Watch(grpc::ServerContext* context,
                                   const v1::WatchTunnelsRequest* request,
                                   grpc::ServerWriter<v1::ListTunnelsResponse>* writer) {
    return guarded([&] {
        const auto place = watches_.enter(caller_of(*context));
        if (!place.valid()) return watches_.refusal();
        const auto interval = watch_interval(request->interval_ms());
        while (!context->IsCancelled()) {
            v1::ListTunnelsResponse response;
            // Reads all matching tunnels in one go: the next snapshot begins at the same place.
            if (auto status = collect(request->filter(), UINT64_MAX, response); !status.ok())
                return status;
            if (!writer->Write(response) || stopping_.wait_for(interval)) break;
        }
        return grpc::Status::OK;
    });
}

}  // namespace dr::control

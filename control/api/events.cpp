// Serves Events.List and Events.Watch from the event log.
#include "control/api/events.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/api/crud.h"
#include "control/events/event_text.h"
#include "control/telemetry/live_proto.h"

namespace dr::control {
namespace {

// Events read for one message of a watch, and the time between two checks whether drd is ending.
constexpr std::uint32_t kWatchStep = 1000;
constexpr std::chrono::milliseconds kWatchPatience{200};

grpc::Status to_query(const v1::EventFilter& filter, EventQuery& query) {
    query.subscriber = filter.subscriber();
    query.line = filter.line();
    query.tunnel = filter.tunnel();
    const auto known = event_kinds();
    if (filter.kinds_size() > static_cast<int>(known.size()))
        return invalid_argument("filter.kinds", fmt::format("{} kinds; there are {}",
                                                            filter.kinds_size(), known.size()));
    query.kinds.assign(filter.kinds().begin(), filter.kinds().end());
    std::string listed;
    for (const auto& kind : known) listed.append(listed.empty() ? "" : ", ").append(kind);
    for (std::size_t i = 0; i < query.kinds.size(); ++i)
        if (std::find(known.begin(), known.end(), query.kinds[i]) == known.end())
            return invalid_argument(fmt::format("filter.kinds[{}]", i),
                                    fmt::format("{} is no kind of event; there are: {}",
                                                quoted(query.kinds[i]), listed));
    return grpc::Status::OK;
}

void fill(const LoggedEvent& from, v1::Event& out) {
    out.set_id(from.id);
    fill_time(from.at_us, *out.mutable_at());
    out.set_subscriber(from.subscriber);
    out.set_line(from.line);
    out.set_tunnel(from.tunnel);
    out.set_kind(from.kind);
    out.set_from(static_cast<v1::TunnelStatus::State>(from.from));
    out.set_to(static_cast<v1::TunnelStatus::State>(from.to));
    out.set_cause(from.cause);
    const auto outage_us = from.outage_ns / 1'000;  // whole microseconds are shown
    if (from.outage_ns != 0) out.set_outage_ms(static_cast<double>(outage_us) / 1e3);
    out.set_endpoint(from.endpoint);
    out.set_value(from.value);
    out.set_detail(event_detail(from.kind, from.value));
}

}  // namespace

grpc::Status EventsService::List(grpc::ServerContext*, const v1::ListEventsRequest* request,
                                 v1::ListEventsResponse* response) {
    return guarded([&] {
        EventQuery query;
        if (auto status = to_query(request->filter(), query); !status.ok()) return status;
        std::uint32_t limit = 0;
        if (auto status = page_limit(request->page_size(), limit); !status.ok()) return status;
        const std::int64_t since = request->has_since() ? time_us(request->since()) : INT64_MIN;
        const std::int64_t until = request->has_until() ? time_us(request->until()) : INT64_MAX;
        const auto page = log_.list(query, since, until, request->page_token(), limit);
        for (const auto& event : page.events) fill(event, *response->add_events());
        response->set_next_page_token(page.next);
        return grpc::Status::OK;
    });
}

grpc::Status EventsService::Watch(grpc::ServerContext* context,
                                  const v1::WatchEventsRequest* request,
                                  grpc::ServerWriter<v1::WatchEventsResponse>* writer) {
    return guarded([&] {
        const auto place = watches_.enter(caller_of(*context));
        if (!place.valid()) return watches_.refusal();
        EventQuery query;
        if (auto status = to_query(request->filter(), query); !status.ok()) return status;
        std::int64_t id = request->has_after_id() ? request->after_id() : log_.last_id();
        // Every event after this message is sent.
        if (!writer->Write({})) return grpc::Status::OK;
        while (!context->IsCancelled() && !stopping_.wait_for(std::chrono::milliseconds(0))) {
            if (!log_.wait_for(id, kWatchPatience)) continue;
            v1::WatchEventsResponse response;
            const std::int64_t before = id;
            for (const auto& event : log_.after(query, id, kWatchStep))
                fill(event, *response.add_events());
            // The events after `id` are already removed, by the log's bounds.
            if (id == before) id = std::max(id, log_.last_id());
            if (response.events_size() != 0 && !writer->Write(response)) break;
        }
        return grpc::Status::OK;
    });
}

}  // namespace dr::control

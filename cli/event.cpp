// `drcli event`: the history of tunnels, from drd's log, and live.
#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/format.h"
#include "cli/liveness_text.h"
#include "cli/paging.h"
#include "dr/v1/event.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::Event;
using dr::v1::TunnelStatus;
using google::protobuf::util::TimeUtil;

struct EventFilterOptions {
    std::string subscriber;
    std::string line;
    std::uint32_t tunnel = 0;
    std::vector<std::string> kinds;

    void fill(dr::v1::EventFilter& filter) const {
        filter.set_subscriber(subscriber);
        filter.set_line(line);
        filter.set_tunnel(tunnel);
        for (const auto& kind : kinds) {
            filter.add_kinds(kind);
        }
    }
};
struct ListOptions : EventFilterOptions {
    std::optional<google::protobuf::Timestamp> since;
    std::optional<google::protobuf::Timestamp> until;
    ListLimit limit;
};
struct WatchOptions : EventFilterOptions {
    std::optional<std::int64_t> after;
    std::uint64_t count = 0;
};

std::vector<Column> columns() {
    return {{"TIME"}, {"SUBSCRIBER"},           {"LINE"},     {"KIND"},
            {"WHAT"}, {"OUTAGE", Align::Right}, {"ENDPOINT"}, {"CAUSE"}};
}

// Column widths of a watch, which writes row by row: wide enough for usual values.
std::vector<Column> wide_columns() {
    constexpr std::array<std::size_t, 8> kWidths{23, 16, 8, 15, 20, 10, 21, 0};
    auto wide = columns();
    for (std::size_t i = 0; i < wide.size(); ++i) {
        auto& title = wide[i].title;
        const std::string blanks(kWidths[i] - std::min(kWidths[i], title.size()), ' ');
        title = wide[i].align == Align::Left ? title + blanks : blanks + title;
    }
    return wide;
}

std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

std::vector<std::string> row(const Event& event) {
    const bool change = event.from() != TunnelStatus::STATE_UNSPECIFIED;
    return {time_text(event.at()),
            or_dash(event.subscriber()),
            or_dash(event.line()),
            event.kind(),
            change ? fmt::format("{} -> {}", TunnelStatus::State_Name(event.from()),
                                 TunnelStatus::State_Name(event.to()))
                   : or_dash(event.detail()),
            event.has_outage_ms() ? fmt::format("{:.1f} ms", event.outage_ms()) : "-",
            or_dash(event.endpoint()),
            or_dash(event.cause())};
}

int list(Context& context, const ListOptions& options) {
    auto stub = dr::v1::Events::NewStub(context.channel());
    dr::v1::ListEventsRequest request;
    options.fill(*request.mutable_filter());
    if (options.since) {
        *request.mutable_since() = *options.since;
    }
    if (options.until) {
        *request.mutable_until() = *options.until;
    }
    ListWriter writer(context, columns());
    for_each_page<dr::v1::ListEventsResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->List(&client, r, response);
        },
        [](auto& response) { return response.mutable_events(); },
        [&](const auto& events) { writer.add(events, row); });
    writer.end();
    return kExitOk;
}

int watch(Context& context, const WatchOptions& options) {
    auto stub = dr::v1::Events::NewStub(context.channel());
    grpc::ClientContext client;
    dr::v1::WatchEventsRequest request;
    options.fill(*request.mutable_filter());
    if (options.after) {
        request.set_after_id(*options.after);
    }
    auto stream = stub->Watch(&client, request);
    Table table(wide_columns());
    dr::v1::WatchEventsResponse response;
    std::uint64_t shown = 0;
    while (stream->Read(&response)) {
        for (const auto& event : response.events()) {
            if (context.json()) {
                write_line(context.out, to_json(event));
            } else {
                table.add(row(event));
            }
            if (++shown == options.count) {
                break;
            }
        }
        if (!context.json()) {
            std::fputs(table.flush().c_str(), context.out);
        }
        check_written(context.out);
        if (options.count != 0 && shown == options.count) {
            client.TryCancel();
            (void)stream->Finish();
            return kExitOk;
        }
    }
    watch_ended(context, stream->Finish());
}

// "10m" means 10 minutes ago; otherwise RFC 3339, or local time without a zone.
std::optional<google::protobuf::Timestamp> parse_time(const std::string& text) {
    if (const auto ago = parse_duration(text)) {
        return TimeUtil::GetCurrentTime() - TimeUtil::MillisecondsToDuration(ago->count());
    }
    google::protobuf::Timestamp time;
    if (TimeUtil::FromString(text, &time)) {
        return time;
    }
    for (const char* form : {"%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"}) {
        std::tm local{};
        local.tm_isdst = -1;
        const char* end = ::strptime(text.c_str(), form, &local);
        if (end != nullptr && *end == '\0') {
            return TimeUtil::TimeTToTimestamp(std::mktime(&local));
        }
    }
    return std::nullopt;
}

void add_time(CLI::App& command, const std::string& name,
              std::optional<google::protobuf::Timestamp>& time, const std::string& help) {
    command
        .add_option_function<std::string>(
            name,
            [&time, name](const std::string& text) {
                time = parse_time(text);
                if (!time) {
                    throw CLI::ValidationError(
                        name, fmt::format("\"{}\" is no time: write 10m or 2h (ago), "
                                          "\"2026-11-23 09:15\" or 2026-11-23T00:15:00Z",
                                          text));
                }
            },
            help)
        ->type_name("TIME");
}

void add_filter(CLI::App& command, EventFilterOptions& filter) {
    command.add_option("--subscriber", filter.subscriber, "Only this subscriber's")
        ->type_name("NAME");
    command.add_option("--line", filter.line, "Only of the line of this name")->type_name("NAME");
    add_tunnel_id(command, "--tunnel", filter.tunnel, "Only of this one");
    command
        .add_option("--kind", filter.kinds,
                    "Only of this kind: state, suspect, degraded, eligible, endpoint, nat, ... "
                    "(may be given several times)")
        ->type_name("NAME")
        ->expected(1);
}

}  // namespace

void add_event(CLI::App& root, Context& context) {
    auto* group =
        add_group(root, context, "event", "What happened to tunnels: changes, causes, outages");

    auto filter = std::make_shared<ListOptions>();
    auto* listing = add_command(*group, context, "list", "List the log, the newest first",
                                [filter](Context& c) { return list(c, *filter); });
    add_filter(*listing, *filter);
    add_time(*listing, "--since", filter->since,
             "From then on: 10m, 2h, 3d (ago), or a time; tables show local time");
    add_time(*listing, "--until", filter->until, "Before then");
    add_limit_options(*listing, filter->limit);
    add_examples(*listing,
                 "drcli event list --subscriber site-42 --since 1h\n"
                 "drcli event list --kind state --since 1d --all -o json | "
                 "jq '.[] | select(.to == \"DOWN\")'");

    auto options = std::make_shared<WatchOptions>();
    auto* watching = add_command(*group, context, "watch", "Show events as they happen",
                                 [options](Context& c) { return watch(c, *options); });
    add_filter(*watching, *options);
    watching
        ->add_option_function<std::int64_t>(
            "--after", [options](std::int64_t id) { options->after = id; },
            "Begin with what the log has after the event of this id")
        ->type_name("ID");
    watching->add_option("--count", options->count, "End after so many (default: never)")
        ->type_name("N");
    add_examples(*watching,
                 "drcli event watch --kind state\n"
                 "drcli event watch --subscriber site-42 -o json");
}

}  // namespace dr::cli

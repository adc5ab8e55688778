// `drcli tunnel`: the tunnels with their state, counters and rates.
#include <fmt/format.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "base/printable.h"
#include "cli/commands.h"
#include "cli/drops.h"
#include "cli/format.h"
#include "cli/live_view.h"
#include "cli/liveness_text.h"
#include "cli/paging.h"
#include "cli/rates.h"
#include "cli/tunnel_rows.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::ListTunnelsRequest;
using dr::v1::ListTunnelsResponse;
using dr::v1::TunnelStatus;

struct TunnelFilter {
    std::string subscriber;
    std::string line;
    std::uint32_t id = 0;
    std::string name_prefix;
    std::string within;
    dr::v1::Encapsulation encapsulation = dr::v1::ENCAPSULATION_UNSPECIFIED;
    TunnelStatus::State state = TunnelStatus::STATE_UNSPECIFIED;
    bool troubled = false;
    ListLimit limit;

    [[nodiscard]] ListTunnelsRequest request() const {
        ListTunnelsRequest request;
        request.set_subscriber(subscriber);
        request.set_line(line);
        request.set_id(id);
        request.set_name_prefix(name_prefix);
        request.set_within(within);
        request.set_encapsulation(encapsulation);
        request.set_state(state);
        request.set_troubled(troubled);
        return request;
    }
};
struct ListOptions : TunnelFilter {
    bool counters = false;
};
struct WatchOptions : TunnelFilter {
    bool changes = false;
    std::chrono::milliseconds interval{1000};
    std::uint64_t count = 0;
};

template <class Page>
void for_each_tunnel_page(Context& context, const TunnelFilter& filter, Page&& page) {
    auto stub = dr::v1::Tunnels::NewStub(context.channel());
    for_each_page<ListTunnelsResponse>(
        context, filter.request(), filter.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->List(&client, r, response);
        },
        [](auto& response) { return response.mutable_tunnels(); }, page);
}

int list(Context& context, const ListOptions& options) {
    ListWriter writer(context, options.counters ? counter_columns() : liveness_columns());
    for_each_tunnel_page(context, options, [&](const auto& tunnels) {
        writer.add(tunnels, options.counters ? counter_row : liveness_row);
    });
    writer.end();
    return kExitOk;
}

std::string show(const TunnelStatus& status) {
    const auto& tunnel = status.tunnel();
    const auto& counters = status.counters();
    const auto traffic = [&](std::uint64_t packets, std::uint64_t bytes) {
        return status.has_counters() ? fmt::format("{} packets, {} bytes", packets, bytes) : "-";
    };
    std::vector<std::pair<std::string, std::string>> entries{
        {"Id", fmt::format("{} (index {}, generation {})", tunnel.id(), tunnel.id() & 0xffffff,
                           tunnel.id() >> 24)},
        {"Subscriber", status.subscriber()},
        {"Line", tunnel.line()},
        {"State", TunnelStatus::State_Name(status.state())},
        {"Encapsulation",
         encapsulation_text(tunnel.encapsulation(), status.liveness().encapsulation())},
        {"Local", tunnel.local()},
        {"Remote", remote_text(tunnel)},
        {"MTU", tunnel.has_mtu() ? std::to_string(tunnel.mtu()) : ""},
        {"Downlink", traffic(counters.downlink_packets(), counters.downlink_bytes())},
        {"Uplink", traffic(counters.uplink_packets(), counters.uplink_bytes())},
        {"Dropped", drops_text(status)}};
    if (status.has_liveness()) {
        const auto more = liveness_entries(status.liveness());
        entries.insert(entries.end(), more.begin(), more.end());
    }
    return key_values(entries);
}

int get(Context& context, std::uint32_t id) {
    TunnelFilter filter;
    filter.id = id;
    filter.limit.count = 1;
    bool found = false;
    for_each_tunnel_page(context, filter, [&](const auto& tunnels) {
        for (const auto& tunnel : tunnels) {
            found = true;
            if (context.json()) {
                write_pretty(context.out, to_json(tunnel));
            } else {
                std::fputs(show(tunnel).c_str(), context.out);
            }
        }
    });
    if (!found) {
        throw Failure(kExitRefused, fmt::format("no tunnel has the id {}", id));
    }
    return kExitOk;
}

Json rates_json(const TunnelStatus& status, const std::optional<TunnelRates>& rates) {
    Json json = Json::object();
    json["id"] = status.tunnel().id();
    json["subscriber"] = status.subscriber();
    json["line"] = status.tunnel().line();
    json["state"] = TunnelStatus::State_Name(status.state());
    // Without two samples of one incarnation there is no rate: null, not 0.
    const auto rate = [&](double TunnelRates::*member) {
        return rates ? Json(*rates.*member) : Json(nullptr);
    };
    json["downlinkPacketsPerSecond"] = rate(&TunnelRates::downlink_packets_per_s);
    json["downlinkBitsPerSecond"] = rate(&TunnelRates::downlink_bits_per_s);
    json["uplinkPacketsPerSecond"] = rate(&TunnelRates::uplink_packets_per_s);
    json["uplinkBitsPerSecond"] = rate(&TunnelRates::uplink_bits_per_s);
    json["counters"] = status.has_counters() ? to_json(status.counters()) : Json(nullptr);
    json["liveness"] = status.has_liveness() ? to_json(status.liveness()) : Json(nullptr);
    return json;
}

// Shows the snapshots of a watch.
class RateTable {
  public:
    explicit RateTable(Context& context) : context_(context), view_(context.out) {}

    // The first snapshot has no rates yet, and is not shown. Returns whether it was.
    bool snapshot(const ListTunnelsResponse& response) {
        std::vector<Column> columns{{"ID", Align::Right},
                                    {"SUBSCRIBER"},
                                    {"LINE"},
                                    {"STATE"},
                                    {"RTT", Align::Right},
                                    {"LOSS UP", Align::Right},
                                    {"LOSS DOWN", Align::Right},
                                    {"DOWN PKT/S", Align::Right},
                                    {"DOWN BIT/S", Align::Right},
                                    {"UP PKT/S", Align::Right},
                                    {"UP BIT/S", Align::Right}};
        // In a narrow window the rates stand below the row, where they are not cut.
        const bool narrow = view_.columns() < kWithRates;
        if (narrow) {
            columns.resize(columns.size() - kRates);
        }
        Table table(std::move(columns));
        std::vector<std::string> reasons;
        const bool shown = !first_;
        first_ = false;
        for (const auto& status : response.tunnels()) {
            std::optional<TunnelRates> rates;
            if (status.has_counters()) {
                rates = meter_.update(status.tunnel().id(), status.counters());
            }
            if (shown && context_.json()) {
                write_line(context_.out, rates_json(status, rates));
            } else if (shown) {
                auto row = cells(status, rates);
                std::string reason = printable(why_text(status));
                if (narrow) {
                    const auto* rate = &row[row.size() - kRates];
                    reason += fmt::format("\n    down {} pkt/s {} bit/s, up {} pkt/s {} bit/s",
                                          rate[0], rate[1], rate[2], rate[3]);
                    row.resize(row.size() - kRates);
                }
                table.add(std::move(row));
                reasons.push_back(std::move(reason));
            }
        }
        meter_.end_snapshot();
        if (shown && !context_.json()) {
            view_.show(with_remarks(table.flush(), "WHY", reasons, view_.columns()));
        }
        std::fflush(context_.out);
        return shown;
    }

  private:
    static constexpr std::size_t kRates = 4;
    static constexpr std::size_t kWithRates = 120;  // columns of a terminal

    static std::vector<std::string> cells(const TunnelStatus& status,
                                          const std::optional<TunnelRates>& rates) {
        const auto rate = [&](double TunnelRates::*member) {
            return rates ? with_unit(*rates.*member) : std::string("-");
        };
        const auto& window = recent(status.liveness());
        return {std::to_string(status.tunnel().id()),
                status.subscriber(),
                status.tunnel().line(),
                TunnelStatus::State_Name(status.state()),
                rtt_text(status.liveness().srtt_us()),
                loss_text(window.has_loss_uplink_permille(), window.loss_uplink_permille()),
                loss_text(window.has_loss_downlink_permille(), window.loss_downlink_permille()),
                rate(&TunnelRates::downlink_packets_per_s),
                rate(&TunnelRates::downlink_bits_per_s),
                rate(&TunnelRates::uplink_packets_per_s),
                rate(&TunnelRates::uplink_bits_per_s)};
    }

    Context& context_;
    LiveView view_;
    TunnelRateMeter meter_;
    bool first_ = true;
};

// Shows a tunnel when something other than a measurement has changed.
class ChangeTable {
  public:
    explicit ChangeTable(Context& context) : context_(context), table_(liveness_columns()) {}

    // Returns whether something was shown.
    bool snapshot(const ListTunnelsResponse& response) {
        bool shown = false;
        // A tunnel that disappears is shown again when it comes back.
        const auto before = std::exchange(known_, {});
        for (const auto& status : response.tunnels()) {
            const auto& now = known_[status.tunnel().id()] = essence(status);
            const auto known = before.find(status.tunnel().id());
            if (known != before.end() && known->second == now) {
                continue;
            }
            shown = true;
            if (context_.json()) {
                write_line(context_.out, to_json(status));
            } else {
                table_.add(liveness_row(status));
            }
        }
        if (!context_.json()) {
            std::fputs(table_.flush().c_str(), context_.out);
        }
        check_written(context_.out);
        return shown;
    }

  private:
    static std::string essence(const TunnelStatus& status) {
        const auto& l = status.liveness();
        return fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", static_cast<int>(status.state()),
                           l.cause(), l.ineligible(), l.active(), l.suspect_uplink(),
                           l.suspect_downlink(), l.degraded(), l.congested(), l.damped(),
                           l.endpoint());
    }

    Context& context_;
    Table table_;
    std::map<std::uint32_t, std::string> known_;
};

template <class View>
int watch(Context& context, const WatchOptions& options) {
    auto stub = dr::v1::Tunnels::NewStub(context.channel());
    grpc::ClientContext client;
    dr::v1::WatchTunnelsRequest request;
    *request.mutable_filter() = options.request();
    request.mutable_filter()->set_page_size(static_cast<std::uint32_t>(options.limit.objects()));
    request.set_interval_ms(static_cast<std::uint32_t>(options.interval.count()));
    auto stream = stub->Watch(&client, request);
    View table(context);
    ListTunnelsResponse response;
    std::uint64_t shown = 0;
    bool told = options.limit.count != 0;
    while (stream->Read(&response)) {
        if (!told && !response.next_page_token().empty()) {
            told = true;
            fmt::print(context.err,
                       "drcli: only the first {} are watched: --limit N takes up to 10000, and "
                       "filters (--help) what is looked for\n",
                       options.limit.objects());
        }
        shown += table.snapshot(response) ? 1 : 0;
        if (options.count != 0 && shown == options.count) {
            client.TryCancel();
            (void)stream->Finish();
            return kExitOk;
        }
    }
    watch_ended(context, stream->Finish());
}

// An option that takes one of the enumeration's names, in any case; its value 0 means "any".
template <class Enum>
void add_enum(CLI::App& command, const std::string& option, Enum& value,
              const google::protobuf::EnumDescriptor* type) {
    std::map<std::string, Enum> names;
    for (int i = 0; i < type->value_count(); ++i)
        if (type->value(i)->number() != 0)
            names[type->value(i)->name()] = static_cast<Enum>(type->value(i)->number());
    std::string listed;
    for (const auto& [name, number] : names) listed += (listed.empty() ? "" : ", ") + name;
    command
        .add_option_function<std::string>(
            option,
            [option, names, listed, &value](const std::string& text) {
                const auto found = std::find_if(names.begin(), names.end(), [&](const auto& n) {
                    return CLI::detail::to_lower(n.first) == CLI::detail::to_lower(text);
                });
                if (found == names.end()) {
                    throw CLI::ValidationError(option,
                                               fmt::format("\"{}\" is none of {}", text, listed));
                }
                value = found->second;
            },
            "Only with this one of " + listed)
        ->type_name("NAME");
}

void add_filter(CLI::App& command, TunnelFilter& filter) {
    command.add_option("--subscriber", filter.subscriber, "Only this subscriber's")
        ->type_name("NAME");
    command.add_option("--line", filter.line, "Only on the line of this name")->type_name("NAME");
    add_tunnel_id(command, "--id", filter.id, "Only this one");
    command.add_option("--prefix", filter.name_prefix, "Only of subscribers whose name begins so")
        ->type_name("TEXT");
    command
        .add_option("--within", filter.within, "Only of subscribers with addresses in this prefix")
        ->type_name("PREFIX");
    add_enum(command, "--encapsulation", filter.encapsulation, dr::v1::Encapsulation_descriptor());
    add_enum(command, "--state", filter.state, TunnelStatus::State_descriptor());
    command.add_flag("--troubled", filter.troubled,
                     "Only with keepalives, and down, out of use, suspect or degraded");
}

}  // namespace

void add_tunnel(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "tunnel", "Tunnels: state, quality, counters, rates");
    group->footer(kTunnelsBelong);

    auto filter = std::make_shared<ListOptions>();
    auto* listing =
        add_command(*group, context, "list", "List the tunnels with what keepalives show",
                    [filter](Context& c) { return list(c, *filter); });
    add_filter(*listing, *filter);
    listing->add_flag("--counters", filter->counters, "Show addresses and counters instead");
    add_limit_options(*listing, filter->limit);
    add_examples(*listing,
                 "drcli tunnel list --within 203.0.113.9\n"
                 "drcli tunnel list --troubled\n"
                 "drcli tunnel list --state PENDING --all -o json | jq -r '.[].subscriber'");

    auto id = std::make_shared<std::uint32_t>(0);
    auto* getting = add_command(*group, context, "get", "Show one tunnel",
                                [id](Context& c) { return get(c, *id); });
    add_tunnel_id(*getting, "ID", *id, "Its GRE key, decimal or 0x hexadecimal")->required();

    auto options = std::make_shared<WatchOptions>();
    auto* watching =
        add_command(*group, context, "watch", "Show state and rates live, or what changes",
                    [options](Context& c) {
                        return options->changes ? watch<ChangeTable>(c, *options)
                                                : watch<RateTable>(c, *options);
                    });
    add_filter(*watching, *options);
    watching->add_option("--limit", options->limit.count, "At most so many (default: 1000)")
        ->type_name("N")
        ->check([](const std::string& text) {
            return CLI::Range(1, 10000)(text).empty() ? "" : "must be 1 to 10000, not " + text;
        });
    watching->add_flag(
        "--changes", options->changes,
        "Show each tunnel once, and again when its state, cause or endpoint changes");
    add_watch_options(*watching, options->interval, options->count);
    add_examples(*watching,
                 "drcli tunnel watch --subscriber site-42\n"
                 "drcli tunnel watch --changes -o json\n"
                 "drcli tunnel watch --count 1 -o json");
}

}  // namespace dr::cli

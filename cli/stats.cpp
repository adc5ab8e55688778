// `drcli stats`: every counter, and the meaning of each drop reason.
#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <memory>

#include "cli/commands.h"
#include "cli/drops.h"
#include "cli/format.h"
#include "cli/live_view.h"
#include "cli/paging.h"
#include "cli/rates.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::CountersSnapshot;

struct WatchOptions {
    std::string prefix;
    std::chrono::milliseconds interval{1000};
    std::uint64_t count = 0;
    bool all = false;
};

struct DropsOptions {
    std::string exit;
    std::uint32_t limit = 0;
};

std::vector<std::string> matching_names(const CountersSnapshot& snapshot,
                                        const std::string& prefix) {
    std::vector<std::string> names;
    for (const auto& [name, value] : snapshot.counters()) {
        if (name.starts_with(prefix)) {
            names.push_back(name);
        }
    }
    std::sort(names.begin(), names.end());
    return names;
}

int show(Context& context, const std::string& prefix) {
    auto stub = dr::v1::System::NewStub(context.channel());
    CountersSnapshot snapshot;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->GetCounters(&client, {}, &snapshot);
          }));
    const auto names = matching_names(snapshot, prefix);
    if (names.empty() && !prefix.empty()) {
        throw Failure(kExitRefused, fmt::format("no counter's name begins with {}", prefix));
    }
    if (context.json()) {
        Json json = Json::object();
        json["counters"] = Json::object();
        for (const auto& name : names) {
            json["counters"][name] = snapshot.counters().at(name);
        }
        json["incarnation"] = snapshot.incarnation();
        json["sampledAtNs"] = snapshot.sampled_at_ns();
        write_pretty(context.out, json);
    } else {
        Table table({{"COUNTER"}, {"VALUE", Align::Right}});
        for (const auto& name : names) {
            table.add({name, std::to_string(snapshot.counters().at(name))});
        }
        std::fputs(table.flush().c_str(), context.out);
    }
    return kExitOk;
}

// Exits whose name begins with `prefix`, in the order in which the data plane declares them.
int exits(Context& context, const std::string& prefix) {
    auto stub = dr::v1::System::NewStub(context.channel());
    dr::v1::ListExitsResponse response;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->ListExits(&client, {}, &response);
          }));
    ListWriter writer(context, {{"NAME"}, {"COUNT", Align::Right}, {"MEANING"}});
    std::vector<dr::v1::ListExitsResponse::Exit> matching;
    for (const auto& one : response.exits()) {
        if (one.name().starts_with(prefix)) {
            matching.push_back(one);
        }
    }
    writer.add(matching, [](const auto& one) {
        return std::vector<std::string>{one.name(), std::to_string(one.count()), one.help()};
    });
    writer.end();
    return kExitOk;
}

Json rates_json(const CountersSnapshot& snapshot, const std::string& prefix,
                const std::unordered_map<std::string, double>& rates) {
    Json counters = Json::object();
    for (const auto& name : matching_names(snapshot, prefix)) {
        const auto rate = rates.find(name);
        counters[name] = {{"value", snapshot.counters().at(name)},
                          {"perSecond", rate == rates.end() ? Json(nullptr) : Json(rate->second)}};
    }
    return {{"counters", counters},
            {"incarnation", snapshot.incarnation()},
            {"sampledAtNs", snapshot.sampled_at_ns()}};
}

std::string rates_table(const CountersSnapshot& snapshot, const WatchOptions& options,
                        const std::unordered_map<std::string, double>& rates) {
    Table table({{"COUNTER"}, {"VALUE", Align::Right}, {"PER SECOND", Align::Right}});
    for (const auto& name : matching_names(snapshot, options.prefix)) {
        const auto value = snapshot.counters().at(name);
        const auto rate = rates.find(name);
        if (value != 0 || options.all) {
            table.add(
                {name, std::to_string(value), rate == rates.end() ? "-" : with_unit(rate->second)});
        }
    }
    return table.flush();
}

int watch(Context& context, const WatchOptions& options) {
    auto stub = dr::v1::System::NewStub(context.channel());
    grpc::ClientContext client;
    dr::v1::WatchCountersRequest request;
    request.set_interval_ms(static_cast<std::uint32_t>(options.interval.count()));
    auto stream = stub->WatchCounters(&client, request);
    LiveView view(context.out);
    CounterRateMeter meter;
    CountersSnapshot snapshot;
    // The first snapshot has no rates yet, and is not shown.
    for (std::uint64_t received = 0; stream->Read(&snapshot); ++received) {
        const auto rates = meter.update(snapshot);
        if (received == 0) {
            continue;
        }
        if (context.json()) {
            write_line(context.out, rates_json(snapshot, options.prefix, rates));
            std::fflush(context.out);
        } else {
            view.show(rates_table(snapshot, options, rates));
        }
        if (options.count != 0 && received == options.count) {
            client.TryCancel();
            (void)stream->Finish();
            return kExitOk;
        }
    }
    watch_ended(context, stream->Finish());
}

}  // namespace

void add_stats(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "stats", "Counters, and what drop reasons mean");

    auto prefix = std::make_shared<std::string>();
    auto* showing = add_command(*group, context, "show", "Show the counters",
                                [prefix](Context& c) { return show(c, *prefix); });
    showing->add_option("PREFIX", *prefix, "Only names that begin with this")->type_name("");
    add_examples(*showing, "drcli stats show drop.\ndrcli stats show port.up0 -o json");

    auto drops = std::make_shared<DropsOptions>();
    auto* dropping =
        add_command(*group, context, "drops",
                    "Explain every drop reason, with its count; or whose packets it drops",
                    [drops](Context& c) {
                        return drops->exit.empty() ? exits(c, "drop.")
                                                   : list_drops(c, drops->exit, drops->limit);
                    });
    auto* last = dropping
                     ->add_option("--last", drops->exit,
                                  "Show the latest packets that were dropped for this reason")
                     ->type_name("REASON");
    dropping->add_option("--limit", drops->limit, "At most so many of them (default: 16)")
        ->type_name("N")
        ->needs(last)
        ->check([](const std::string& text) {
            return CLI::Range(1, 1000)(text).empty() ? "" : "must be 1 to 1000, not " + text;
        });
    add_examples(*dropping,
                 "drcli stats drops --last drop.unknown_tunnel\n"
                 "drcli stats drops --last encap_mismatch -o json | jq -r '.[].subscriber'");
    add_command(*group, context, "exits", "Explain every way out of the pipeline, with its count",
                [](Context& c) { return exits(c, ""); });

    auto options = std::make_shared<WatchOptions>();
    auto* watching = add_command(*group, context, "watch", "Show the counters' rates, live",
                                 [options](Context& c) { return watch(c, *options); });
    watching->add_option("PREFIX", options->prefix, "Only names that begin with this")
        ->type_name("");
    watching->add_flag("--all", options->all, "Counters that are 0, too");
    add_watch_options(*watching, options->interval, options->count);
}

}  // namespace dr::cli

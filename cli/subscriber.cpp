// `drcli subscriber`: the sites.
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/printable.h"
#include "cli/credentials.h"
#include "cli/format.h"
#include "cli/named.h"
#include "cli/object_help.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"
#include "process/files.h"

namespace dr::cli {
namespace {

using dr::v1::Subscriber;
using dr::v1::SubscriberEvent;

constexpr int kPrefixesShown = 3;

struct SubscriberListOptions : ListOptions {
    std::string within;
    std::string policy;
};
struct UrConfigOptions {
    std::string name;
    std::string file;
};

std::string lines_text(const Subscriber& subscriber) {
    std::vector<std::string> lines;
    for (const auto& tunnel : subscriber.tunnels()) {
        lines.push_back(tunnel.line());
    }
    return lines.empty() ? "-" : list_text(lines, static_cast<int>(lines.size()));
}

std::vector<std::string> row(const Subscriber& subscriber) {
    return {subscriber.name(), list_text(subscriber.prefixes(), kPrefixesShown),
            subscriber.policy(), lines_text(subscriber), std::to_string(subscriber.revision())};
}

std::string show(Context& context, const Subscriber& subscriber) {
    const auto credentials = credentials_of(context, subscriber.name());
    std::string text = key_values(
        {{"Name", subscriber.name()},
         {"Prefixes", list_text(subscriber.prefixes(), subscriber.prefixes_size())},
         {"Policy", subscriber.policy()},
         {"Hash seed",
          subscriber.has_hash_seed() ? fmt::format("0x{:08x}", subscriber.hash_seed()) : ""},
         {"Credentials", credentials ? credentials_text(*credentials) : "not known"},
         {"Id", std::to_string(subscriber.id())},
         {"Revision", std::to_string(subscriber.revision())}});
    if (subscriber.tunnels().empty()) {
        return text;
    }
    Table table({{"LINE"},
                 {"ID", Align::Right},
                 {"ENCAPSULATION"},
                 {"LOCAL"},
                 {"REMOTE"},
                 {"MTU", Align::Right}});
    for (const auto& tunnel : subscriber.tunnels()) {
        table.add({tunnel.line(), std::to_string(tunnel.id()),
                   encapsulation_text(tunnel.encapsulation()), tunnel.local(), remote_text(tunnel),
                   tunnel.has_mtu() ? std::to_string(tunnel.mtu()) : "-"});
    }
    return text + '\n' + table.flush();
}

int list(Context& context, const SubscriberListOptions& options) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    ListWriter writer(context,
                      {{"NAME"}, {"PREFIXES"}, {"POLICY"}, {"LINES"}, {"REVISION", Align::Right}});
    dr::v1::ListSubscribersRequest request;
    request.set_name_prefix(options.prefix);
    request.set_within(options.within);
    request.set_policy(options.policy);
    for_each_page<dr::v1::ListSubscribersResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->List(&client, r, response);
        },
        [](auto& response) { return response.mutable_subscribers(); },
        [&](const auto& subscribers) { writer.add(subscribers, row); });
    writer.end();
    return kExitOk;
}

int watch(Context& context, const std::string& prefix) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    grpc::ClientContext client;
    dr::v1::WatchRequest request;
    request.set_name_prefix(prefix);
    auto stream = stub->Watch(&client, request);
    Table table(
        {{"EVENT   "}, {"NAME"}, {"PREFIXES"}, {"POLICY"}, {"LINES"}, {"REVISION", Align::Right}});
    SubscriberEvent event;
    std::uint64_t existing = 0;
    while (stream->Read(&event)) {
        if (context.json()) {
            write_line(context.out, to_json(event));
        } else if (event.type() == SubscriberEvent::SYNCED) {
            table.add({"SYNCED", "-", "-", "-", "-", "-"});
        } else {
            auto cells = row(event.subscriber());
            cells.insert(cells.begin(), SubscriberEvent::Type_Name(event.type()));
            table.add(std::move(cells));
        }
        // The existing ones are aligned by the page; after them each change is shown at once.
        if (event.type() == SubscriberEvent::EXISTING && ++existing % kPageSize != 0) {
            continue;
        }
        if (!context.json()) {
            std::fputs(table.flush().c_str(), context.out);
        }
        std::fflush(context.out);
    }
    watch_ended(context, stream->Finish());
}

void write_file(const std::string& path, const Json& json) {
    std::string why;
    const int fd = process::open_regular(path, 0666, &why);
    if (fd < 0) throw Failure(kExitUsage, why);
    std::FILE* file = ::ftruncate(fd, 0) == 0 ? ::fdopen(fd, "w") : nullptr;
    if (file == nullptr) {
        throw Failure(kExitUsage,
                      fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
    }
    write_pretty(file, json);
    const bool failed = std::ferror(file) != 0;
    if (std::fclose(file) != 0 || failed) {
        throw Failure(kExitUsage,
                      fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
    }
}

int ur_config(Context& context, const UrConfigOptions& options) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::GetRequest request;
    request.set_name(options.name);
    dr::v1::UserRouterConfig config;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->GetUserRouterConfig(&client, request, &config);
          }));
    if (options.file.empty() || options.file == "-") {
        write_pretty(context.out, to_json(config));
    } else {
        write_file(options.file, to_json(config));
    }
    return kExitOk;
}

bool says_yes(Context& context, const std::string& question) {
    fmt::print(context.err, "{} [y/N] ", question);
    std::fflush(context.err);
    std::array<char, 16> answer{};
    return std::fgets(answer.data(), answer.size(), context.in) != nullptr &&
           (answer[0] == 'y' || answer[0] == 'Y');
}

// A subscriber that is applied again later gets its prefixes back, but its router has no
// credentials.
void ask_before_delete(Context& context, const std::string& name) {
    const auto credentials = credentials_of(context, name);
    if (!credentials || credentials->accepted().empty()) {
        return;
    }
    bool attached = false;
    for (const auto& credential : credentials->accepted()) {
        attached = attached || credential.in_use();
    }
    const auto what = fmt::format(
        "subscriber/{}{}: its router's credentials are lost for good, and applying it again later "
        "does not bring them back",
        printable(name), attached ? " is attached now" : "");
    if (::isatty(::fileno(context.in)) != 1) {
        throw Failure(kExitUsage, what + "; say --yes to delete it");
    }
    if (!says_yes(context, what + ". Delete it?")) {
        throw Failure(kExitRefused, "nothing was deleted");
    }
}

void add_subscriber_delete(CLI::App& group, Context& context) {
    auto yes = std::make_shared<bool>(false);
    add_delete<dr::v1::Subscribers>(group, context, "subscriber",
                                    [yes](Context& c, const std::string& name) {
                                        if (!*yes) {
                                            ask_before_delete(c, name);
                                        }
                                    })
        ->add_flag("--yes", *yes, "Also when its router's credentials are lost with it");
}

void add_subscriber_list(CLI::App& group, Context& context) {
    auto options = std::make_shared<SubscriberListOptions>();
    auto* command = add_command(group, context, "list", "List the subscribers",
                                [options](Context& c) { return list(c, *options); });
    add_list_options(*command, *options);
    command->add_option("--within", options->within, "Only those with addresses in this prefix")
        ->type_name("PREFIX");
    command->add_option("--policy", options->policy, "Only those with this policy")
        ->type_name("NAME");
    add_examples(*command,
                 "drcli subscriber list --within 203.0.113.0/26\n"
                 "drcli subscriber list --prefix site- --limit 20 -o json | jq -r '.[].name'");
}

}  // namespace

void add_subscriber(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "subscriber", "Sites: prefixes, policy, tunnels");
    group->footer(object_help("subscriber"));
    add_subscriber_list(*group, context);
    add_get<dr::v1::Subscribers, Subscriber>(*group, context, "subscriber", show);
    add_group_apply(*group, context, "subscriber");
    add_subscriber_delete(*group, context);

    auto prefix = std::make_shared<std::string>();
    auto* watching = add_command(*group, context, "watch",
                                 "Show the subscribers, then each change as it is made",
                                 [prefix](Context& c) { return watch(c, *prefix); });
    watching->add_option("--prefix", *prefix, "Only names that begin with this")->type_name("TEXT");

    auto config = std::make_shared<UrConfigOptions>();
    auto* command = add_command(*group, context, "ur-config",
                                "Write the configuration file of the site's router (urd)",
                                [config](Context& c) { return ur_config(c, *config); });
    command->add_option("NAME", config->name, "The subscriber's name")->required()->type_name("");
    command->add_option("-f,--file", config->file, "Where to (default: standard output)")
        ->type_name("FILE");
    add_examples(*command, "drcli subscriber ur-config site-42 -f urd.json");
    add_enrollment(*group, context);
}

}  // namespace dr::cli

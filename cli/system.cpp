// `drcli system`: the state of the control daemon and of the data plane.
#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <map>
#include <memory>
#include <thread>

#include "cli/commands.h"
#include "cli/connection.h"
#include "cli/errors.h"
#include "cli/format.h"
#include "cli/json.h"
#include "cli/liveness_text.h"
#include "cli/table.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::SystemStatus;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPollInterval{50};

std::string dataplane_text(const SystemStatus& status) {
    std::string text = SystemStatus::DataplaneState_Name(status.dataplane_state());
    return status.detail().empty() ? text : text + ": " + status.detail();
}

std::string memory_table(const SystemStatus& status) {
    Table table({{"MEMORY"},
                 {"USED", Align::Right},
                 {"TAKEN", Align::Right},
                 {"ROWS", Align::Right},
                 {"CAPACITY", Align::Right}});
    std::uint64_t used = 0;
    for (const auto& one : status.memory()) {
        const bool has_rows = one.capacity_rows() != 0;
        used += one.bytes();
        table.add({one.what(), bytes_text(one.bytes()),
                   one.capacity_bytes() == 0 ? "-" : bytes_text(one.capacity_bytes()),
                   has_rows ? std::to_string(one.rows()) : "-",
                   has_rows ? std::to_string(one.capacity_rows()) : "-"});
    }
    table.add({"all", bytes_text(used), "-", "-", "-"});
    return table.flush();
}

std::string health_table(const SystemStatus& status) {
    Table table({{"PART"},
                 {"STATE"},
                 {"SINCE"},
                 {"STALLED", Align::Right},
                 {"RECOVERED", Align::Right},
                 {"BUFFERS LOST", Align::Right},
                 {"CAUSE"}});
    for (const auto& one : status.health()) {
        const bool watched = one.state() != dr::v1::PartHealth::NOT_WATCHED;
        const bool port = one.kind() == dr::v1::PartHealth::PORT;
        table.add(
            {(port ? "port " : "worker ") + one.name(), dr::v1::PartHealth::State_Name(one.state()),
             watched ? time_text(one.since()) : "-", watched ? std::to_string(one.stalls()) : "-",
             watched ? std::to_string(one.recoveries()) : "-",
             watched && port ? std::to_string(one.buffers_lost()) : "-",
             one.cause().empty() ? "-" : one.cause()});
    }
    return table.flush();
}

std::string keepalives_text(const SystemStatus& status) {
    if (!status.has_keepalives()) {
        return "-";
    }
    const auto& k = status.keepalives();
    return fmt::format(
        "{} UP ({} carry traffic, {} suspect, {} degraded, {} damped), {} DOWN, {} INIT, "
        "{} ADMIN_DOWN",
        k.up(), k.active(), k.suspect(), k.degraded(), k.damped(), k.down(), k.init(),
        k.admin_down());
}

std::string event_log_text(const dr::v1::EventLogStatus& log) {
    std::string text = fmt::format("{} events", log.events());
    if (log.missed() != 0) {
        text += fmt::format(", {} were missed", log.missed());
    }
    return log.detail().empty() ? text : text + "; cannot be written: " + log.detail();
}

std::string statistics_table(const dr::v1::KeepaliveSummary& keepalives) {
    Table table({{"KEEPALIVES"}, {"COUNT", Align::Right}});
    const std::map<std::string, std::uint64_t> sorted(keepalives.statistics().begin(),
                                                      keepalives.statistics().end());
    for (const auto& [name, value] : sorted) {
        table.add({name, std::to_string(value)});
    }
    return table.flush();
}

// The summary; the tables of rows, memory and keepalives are shown on demand.
std::string show_brief(const SystemStatus& status) {
    std::string text =
        key_values({{"drd version", status.version()},
                    {"Data plane", dataplane_text(status)},
                    {"Data plane version", status.dataplane_version()},
                    {"Data plane UUID", status.dataplane_uuid()},
                    {"Data plane epoch", std::to_string(status.dataplane_epoch())},
                    {"Drain", status.drain() ? "on" : "off"},
                    {"Revision", fmt::format("{} stored, {} installed", status.store_revision(),
                                             status.installed_revision())},
                    {"Tunnels with keepalives", keepalives_text(status)},
                    {"Event log", event_log_text(status.event_log())}});
    if (status.routes_waiting() != 0) {
        text += fmt::format("{} routes of the kernel find no room in the data plane's tables\n",
                            status.routes_waiting());
    }
    if (!status.health().empty()) {
        text += '\n' + health_table(status);
    }
    return text;
}

// Rows that include the data plane's own, or the kernel's.
std::string rows_note(const std::string& table) {
    if (table.starts_with("prefixes")) {
        return "installed: with the kernel's routes and own addresses";
    }
    return table == "maps" || table.starts_with("groups") ? "made as they are needed" : "";
}

std::string show(const SystemStatus& status) {
    std::string text = show_brief(status);
    if (!status.rows().empty()) {
        Table table({{"TABLE"},
                     {"DESIRED", Align::Right},
                     {"INSTALLED", Align::Right},
                     {"CAPACITY", Align::Right},
                     {"NOTE"}});
        for (const auto& one : status.rows()) {
            const auto note = rows_note(one.table());
            const bool own = one.desired() == 0 && note.starts_with("made");
            table.add({one.table(), own ? "-" : std::to_string(one.desired()),
                       std::to_string(one.installed()), std::to_string(one.capacity()), note});
        }
        text += '\n' + table.flush();
    }
    if (!status.memory().empty()) {
        text += '\n' + memory_table(status);
    }
    if (!status.keepalives().statistics().empty()) {
        text += '\n' + statistics_table(status.keepalives());
    }
    return text;
}

void write(Context& context, const SystemStatus& status, bool brief) {
    if (context.json()) {
        write_pretty(context.out, to_json(status));
    } else {
        std::fputs((brief ? show_brief(status) : show(status)).c_str(), context.out);
    }
}

int status_command(Context& context, bool brief) {
    auto stub = dr::v1::System::NewStub(context.channel());
    SystemStatus status;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->GetStatus(&client, {}, &status);
          }));
    write(context, status, brief);
    return kExitOk;
}

int drain(Context& context, const std::string& value) {
    auto stub = dr::v1::System::NewStub(context.channel());
    dr::v1::SetDrainRequest request;
    request.set_drain(value == "on");
    SystemStatus status;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->SetDrain(&client, request, &status);
          }));
    if (context.json()) {
        write_pretty(context.out, to_json(status));
    } else {
        fmt::print(context.out, "drain is {}\n",
                   status.drain() ? "on: it is stored and shown; no traffic moves, for there is no "
                                    "other router to take it"
                                  : "off");
    }
    return kExitOk;
}

bool in_sync(const SystemStatus& status) {
    return status.dataplane_state() == SystemStatus::IN_SYNC &&
           status.installed_revision() == status.store_revision();
}

// drd may itself be starting, so an unreachable drd is waited for too.
int wait(Context& context, std::chrono::milliseconds timeout) {
    const auto channel = make_channel(context.options);
    auto stub = dr::v1::System::NewStub(channel);
    const auto deadline = Clock::now() + timeout;
    SystemStatus status;
    std::string last_failure = "no answer";
    bool answered = false;
    for (;;) {
        grpc::ClientContext client;
        client.set_wait_for_ready(true);
        client.set_deadline(
            std::chrono::system_clock::now() +
            std::max<std::chrono::nanoseconds>(deadline - Clock::now(), kPollInterval));
        const auto result = stub->GetStatus(&client, {}, &status);
        if (result.ok()) {
            answered = true;
            if (in_sync(status)) {
                write(context, status, true);
                return kExitOk;
            }
        } else if (result.error_code() != grpc::StatusCode::UNAVAILABLE &&
                   result.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED) {
            throw Failure(kExitRefused, describe(result));
        } else {
            last_failure = connection_failure(context.options);
        }
        if (Clock::now() + kPollInterval > deadline) {
            break;
        }
        std::this_thread::sleep_for(kPollInterval);
    }
    if (!answered) {
        throw Failure(kExitUsage,
                      fmt::format("cannot connect to {} in {} ms: {}", context.options.server,
                                  timeout.count(), last_failure));
    }
    throw Failure(kExitRefused,
                  fmt::format("not in sync after {} ms: data plane {}, revision {} stored, {} "
                              "installed",
                              timeout.count(), dataplane_text(status), status.store_revision(),
                              status.installed_revision()));
}

}  // namespace

void add_system(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "system", "State of the daemons, drain");
    auto brief = std::make_shared<bool>(false);
    auto* showing = add_command(*group, context, "status", "Show versions, state and row counts",
                                [brief](Context& c) { return status_command(c, *brief); });
    showing->add_flag("--brief", *brief, "Without the tables of rows, memory and keepalives");

    auto value = std::make_shared<std::string>();
    auto* draining =
        add_command(*group, context, "drain",
                    "Mark this router as one that other routers are to relieve, or not",
                    [value](Context& c) { return drain(c, *value); });
    draining->add_option("STATE", *value, "on or off")
        ->required()
        ->type_name("")
        ->check([](const std::string& text) {
            return text == "on" || text == "off" ? std::string() : "must be on or off, not " + text;
        });

    auto timeout = std::make_shared<std::chrono::milliseconds>(10000);
    auto* waiting =
        add_command(*group, context, "wait", "Wait until the data plane has all that is stored",
                    [timeout](Context& c) { return wait(c, *timeout); });
    add_duration(*waiting, "--timeout", *timeout, "How long (default: 10s)");
    add_examples(*waiting, "drcli apply -f sites.json && drcli system wait --timeout 30s");
}

}  // namespace dr::cli

// Commands that pools, policies and subscribers share: get and delete by name, list by prefix.
#pragma once

#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>

#include <functional>
#include <memory>
#include <type_traits>

#include "base/printable.h"
#include "cli/commands.h"
#include "cli/connection.h"
#include "cli/errors.h"
#include "cli/json.h"
#include "cli/paging.h"
#include "dr/v1/api.pb.h"

namespace dr::cli {

struct NameOptions {
    std::string name;
    std::int64_t revision = 0;
};
struct ListOptions {
    std::string prefix;
    ListLimit limit;
};

inline void add_list_options(CLI::App& command, ListOptions& options) {
    command.add_option("--prefix", options.prefix, "Only names that begin with this")
        ->type_name("TEXT");
    add_limit_options(command, options.limit);
}

template <class Object, class Show>
std::string text_of(Context& context, const Object& object, Show& show) {
    if constexpr (std::is_invocable_v<Show&, Context&, const Object&>) {
        return show(context, object);
    } else {
        return show(object);
    }
}

// `show(object)` or `show(context, object)` -> text for a person.
template <class Service, class Object, class Show>
void add_get(CLI::App& group, Context& context, const std::string& kind, Show show) {
    auto options = std::make_shared<NameOptions>();
    auto action = [options, show](Context& c) {
        auto stub = Service::NewStub(c.channel());
        dr::v1::GetRequest request;
        request.set_name(options->name);
        Object object;
        check(c, unary([&](grpc::ClientContext& client) {
                  return stub->Get(&client, request, &object);
              }));
        if (c.json()) {
            write_pretty(c.out, to_json(object));
        } else {
            std::fputs(text_of(c, object, show).c_str(), c.out);
        }
        return kExitOk;
    };
    auto* command = add_command(group, context, "get", "Show one " + kind, action);
    command->add_option("NAME", options->name, "Its name")->required()->type_name("");
}

// `ask`, if given, is called first, with the name; it throws if the deletion should not happen.
template <class Service>
CLI::App* add_delete(CLI::App& group, Context& context, const std::string& kind,
                     std::function<void(Context&, const std::string&)> ask = {}) {
    auto options = std::make_shared<NameOptions>();
    auto action = [options, kind, ask = std::move(ask)](Context& c) {
        if (ask) {
            ask(c, options->name);
        }
        auto stub = Service::NewStub(c.channel());
        dr::v1::DeleteRequest request;
        request.set_name(options->name);
        request.set_revision(options->revision);
        google::protobuf::Empty nothing;
        check(c, unary([&](grpc::ClientContext& client) {
                  return stub->Delete(&client, request, &nothing);
              }));
        if (!c.json()) {
            fmt::print(c.out, "{}/{} deleted\n", kind, printable(options->name));
        }
        return kExitOk;
    };
    auto* command = add_command(group, context, "delete", "Delete one " + kind, action);
    command->add_option("NAME", options->name, "Its name")->required()->type_name("");
    command->add_option("--revision", options->revision, "Only if this is its stored revision")
        ->type_name("N");
    return command;
}

}  // namespace dr::cli

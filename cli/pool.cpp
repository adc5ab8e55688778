// `drcli pool`: the blocks of addresses from which subscribers are provisioned.
#include "cli/named.h"
#include "cli/object_help.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::Pool;

const char* yes_no(bool value) {
    return value ? "yes" : "no";
}

std::vector<std::string> row(const Pool& pool) {
    return {pool.name(), pool.prefix(), yes_no(pool.announce()), std::to_string(pool.revision())};
}

std::string show(const Pool& pool) {
    return key_values({{"Name", pool.name()},
                       {"Prefix", pool.prefix()},
                       {"Announce", yes_no(pool.announce())},
                       {"Revision", std::to_string(pool.revision())}});
}

int list(Context& context, const ListOptions& options) {
    auto stub = dr::v1::Pools::NewStub(context.channel());
    ListWriter writer(context, {{"NAME"}, {"PREFIX"}, {"ANNOUNCE"}, {"REVISION", Align::Right}});
    dr::v1::ListRequest request;
    request.set_name_prefix(options.prefix);
    for_each_page<dr::v1::ListPoolsResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->List(&client, r, response);
        },
        [](auto& response) { return response.mutable_pools(); },
        [&](const auto& pools) { writer.add(pools, row); });
    writer.end();
    return kExitOk;
}

}  // namespace

void add_pool(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "pool", "Address blocks for subscribers");
    group->footer(object_help("pool"));
    auto options = std::make_shared<ListOptions>();
    auto* command = add_command(*group, context, "list", "List the pools",
                                [options](Context& c) { return list(c, *options); });
    add_list_options(*command, *options);
    add_get<dr::v1::Pools, Pool>(*group, context, "pool", show);
    add_group_apply(*group, context, "pool");
    add_delete<dr::v1::Pools>(*group, context, "pool");
}

}  // namespace dr::cli

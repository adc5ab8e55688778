// `drcli policy`: how subscribers' traffic is put on lines.
#include "cli/format.h"
#include "cli/named.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::Policy;

std::vector<std::string> row(const Policy& policy) {
    return {policy.name(), classes_text(policy), std::to_string(policy.revision())};
}

std::string show(const Policy& policy) {
    std::string text =
        key_values({{"Name", policy.name()}, {"Revision", std::to_string(policy.revision())}});
    Table table({{"CLASS"}, {"TIER", Align::Right}, {"LINE"}, {"WEIGHT", Align::Right}});
    for (const auto& one : policy.classes()) {
        int tier_number = 0;
        for (const auto& tier : one.tiers()) {
            ++tier_number;
            for (const auto& line : tier.lines()) {
                table.add({one.name(), std::to_string(tier_number), line.line(),
                           std::to_string(line.weight() == 0 ? 1 : line.weight())});
            }
        }
    }
    return text + '\n' + table.flush();
}

int list(Context& context, const ListOptions& options) {
    auto stub = dr::v1::Policies::NewStub(context.channel());
    ListWriter writer(context, {{"NAME"}, {"CLASSES"}, {"REVISION", Align::Right}});
    dr::v1::ListRequest request;
    request.set_name_prefix(options.prefix);
    for_each_page<dr::v1::ListPoliciesResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->List(&client, r, response);
        },
        [](auto& response) { return response.mutable_policies(); },
        [&](const auto& policies) { writer.add(policies, row); });
    writer.end();
    return kExitOk;
}

}  // namespace

void add_policy(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "policy", "How traffic is put on lines");
    auto options = std::make_shared<ListOptions>();
    auto* command = add_command(*group, context, "list", "List the policies",
                                [options](Context& c) { return list(c, *options); });
    add_list_options(*command, *options);
    add_get<dr::v1::Policies, Policy>(*group, context, "policy", show);
    add_group_apply(*group, context, "policy");
    add_delete<dr::v1::Policies>(*group, context, "policy");
}

}  // namespace dr::cli

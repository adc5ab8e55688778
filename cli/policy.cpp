// `drcli policy`: how subscribers' traffic is distributed over lines.
#include <fmt/format.h>

#include "cli/format.h"
#include "cli/liveness_text.h"
#include "cli/named.h"
#include "cli/object_help.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::Policy;

std::vector<std::string> row(const Policy& policy) {
    return {policy.name(), classes_text(policy), std::to_string(policy.revision())};
}

std::string restore_text(const Policy& policy) {
    if (!policy.has_wait_to_restore_s()) {
        return "60 s";
    }
    return policy.wait_to_restore_s() == 0 ? "not by itself"
                                           : std::to_string(policy.wait_to_restore_s()) + " s";
}

std::string number_text(const Policy& policy, const std::string& line) {
    for (const auto& entry : policy.line_numbers()) {
        if (entry.line() == line) {
            return std::to_string(entry.number());
        }
    }
    return "-";
}

std::string at_most(std::uint32_t limit, const char* unit) {
    return limit == 0 ? "any" : fmt::format("{} {}", limit, unit);
}

// The limits that lines must keep to carry the classes; empty: none.
std::string limits_table(const Policy& policy) {
    Table table({{"CLASS"},
                 {"MAX LOSS", Align::Right},
                 {"MAX RTT", Align::Right},
                 {"MAX JITTER", Align::Right},
                 {"WITHOUT A GOOD LINE"}});
    bool any = false;
    for (const auto& one : policy.classes()) {
        any = any || one.strict() || one.max_loss_permille() != 0 || one.max_rtt_ms() != 0 ||
              one.max_jitter_ms() != 0;
        table.add({one.name(),
                   one.max_loss_permille() == 0 ? "any" : loss_text(true, one.max_loss_permille()),
                   at_most(one.max_rtt_ms(), "ms"), at_most(one.max_jitter_ms(), "ms"),
                   one.strict() ? "drop" : "the least bad"});
    }
    return any ? '\n' + table.flush() : "";
}

std::string show(const Policy& policy) {
    std::string text = key_values({{"Name", policy.name()},
                                   {"Revision", std::to_string(policy.revision())},
                                   {"Traffic returns after", restore_text(policy)}});
    Table table({{"CLASS"},
                 {"TIER", Align::Right},
                 {"LINE"},
                 {"NUMBER", Align::Right},
                 {"WEIGHT", Align::Right}});
    for (const auto& one : policy.classes()) {
        int tier_number = 0;
        for (const auto& tier : one.tiers()) {
            ++tier_number;
            for (const auto& line : tier.lines()) {
                table.add({one.name(), std::to_string(tier_number), line.line(),
                           number_text(policy, line.line()),
                           std::to_string(line.weight() == 0 ? 1 : line.weight())});
            }
        }
    }
    return text + '\n' + table.flush() + limits_table(policy);
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
    group->footer(object_help("policy"));
    auto options = std::make_shared<ListOptions>();
    auto* command = add_command(*group, context, "list", "List the policies",
                                [options](Context& c) { return list(c, *options); });
    add_list_options(*command, *options);
    add_get<dr::v1::Policies, Policy>(*group, context, "policy", show);
    add_group_apply(*group, context, "policy");
    add_delete<dr::v1::Policies>(*group, context, "policy");
}

}  // namespace dr::cli

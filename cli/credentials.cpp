// `drcli credential list`, and the texts of other commands about credentials.
#include "cli/credentials.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/liveness_text.h"
#include "cli/named.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::CredentialStatus;
using dr::v1::SubscriberCredentials;

constexpr std::size_t kShownOfFingerprint = 16;

struct CredentialListOptions : ListOptions {
    std::string subscriber;
};

bool any(const SubscriberCredentials& credentials, bool (CredentialStatus::*is)() const) {
    return std::any_of(credentials.accepted().begin(), credentials.accepted().end(),
                       [is](const auto& c) { return (c.*is)(); });
}

std::string state_of(const SubscriberCredentials& all, int number) {
    const auto& credential = all.accepted(number);
    if (credential.in_use()) {
        return "in use";
    }
    if (credential.replaces_older()) {
        return number == 0 ? "not used yet" : "not used yet; ends those before it when it is";
    }
    for (int i = number + 1; i < all.accepted_size(); ++i) {
        if (all.accepted(i).replaces_older()) {
            return "accepted until a newer one is used";
        }
    }
    return "accepted";
}

std::vector<std::vector<std::string>> rows(const SubscriberCredentials& credentials) {
    std::vector<std::vector<std::string>> out;
    for (int i = 0; i < credentials.accepted_size(); ++i) {
        const auto& c = credentials.accepted(i);
        out.push_back({credentials.subscriber(), c.fingerprint().substr(0, kShownOfFingerprint),
                       c.has_issued() ? time_text(c.issued()) : "-", state_of(credentials, i)});
    }
    if (out.empty()) {
        out.push_back({credentials.subscriber(), "-", "-",
                       "all revoked at " + time_text(credentials.revoked())});
    }
    return out;
}

int list(Context& context, const CredentialListOptions& options) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    JsonArrayWriter json(context.out);
    Table table({{"SUBSCRIBER"}, {"FINGERPRINT"}, {"ISSUED"}, {"STATE"}});
    dr::v1::ListCredentialsRequest request;
    request.set_subscriber(options.subscriber);
    request.set_name_prefix(options.prefix);
    for_each_page<dr::v1::ListCredentialsResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->ListCredentials(&client, r, response);
        },
        [](auto& response) { return response.mutable_credentials(); },
        [&](const auto& page) {
            for (const auto& credentials : page) {
                if (context.json()) {
                    json.add(to_json(credentials));
                    continue;
                }
                for (auto& row : rows(credentials)) {
                    table.add(std::move(row));
                }
            }
            if (!context.json()) {
                std::fputs(table.flush().c_str(), context.out);
            }
        });
    if (context.json()) {
        json.end();
    }
    return kExitOk;
}

}  // namespace

std::optional<SubscriberCredentials> credentials_of(Context& context,
                                                    const std::string& subscriber) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::ListCredentialsRequest request;
    request.set_subscriber(subscriber);
    dr::v1::ListCredentialsResponse response;
    const auto status = unary([&](grpc::ClientContext& client) {
        return stub->ListCredentials(&client, request, &response);
    });
    if (!status.ok()) {
        return std::nullopt;
    }
    SubscriberCredentials none;
    none.set_subscriber(subscriber);
    return response.credentials().empty() ? none : response.credentials(0);
}

std::string credentials_text(const SubscriberCredentials& credentials) {
    if (credentials.accepted().empty()) {
        return !credentials.has_revoked()
                   ? "none issued"
                   : fmt::format(
                         "none: all were revoked at {}; drcli subscriber enroll {} gives "
                         "new ones",
                         time_text(credentials.revoked()), credentials.subscriber());
    }
    const bool waits = any(credentials, &CredentialStatus::replaces_older);
    return fmt::format("{} accepted, {}{}", credentials.accepted_size(),
                       any(credentials, &CredentialStatus::in_use) ? "in use" : "not in use now",
                       waits ? ", the latest not used yet" : "");
}

void add_credential(CLI::App& root, Context& context) {
    auto* group = add_group(root, context, "credential", "Credentials of the sites' routers");
    group->footer("drcli subscriber enroll issues them, drcli subscriber revoke takes them back.");
    auto options = std::make_shared<CredentialListOptions>();
    auto* command =
        add_command(*group, context, "list", "List which are accepted, and whose were revoked",
                    [options](Context& c) { return list(c, *options); });
    command->add_option("--subscriber", options->subscriber, "Only this subscriber's")
        ->type_name("NAME");
    add_list_options(*command, *options);
    add_examples(*command, "drcli credential list --subscriber site-42");
}

}  // namespace dr::cli

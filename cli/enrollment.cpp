// `drcli subscriber enroll|revoke|rotate-keys|attachments`: the sites' routers and their
// credentials.
#include <optional>

#include "base/printable.h"
#include "cli/credentials.h"
#include "cli/format.h"
#include "cli/named.h"
#include "cli/paging.h"
#include "cli/secret_file.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

struct EnrollOptions {
    std::string name;
    std::string file;
    bool keep_older = false;
    bool revoke_older = false;
};

// What happens to earlier credentials.
std::string older_text(Context& context, const EnrollOptions& options, std::uint32_t revoked) {
    if (options.revoke_older) {
        return fmt::format("older ones refused from now on: {}", revoked);
    }
    const auto all = credentials_of(context, options.name);
    const int older = all ? all->accepted_size() - 1 : 0;
    if (older <= 0) {
        return "the only ones that are accepted";
    }
    return fmt::format("older ones accepted {}: {}",
                       options.keep_older ? "as well" : "until its router attaches with these",
                       older);
}

std::uint32_t revoke_older(Context& context, const std::string& name) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::GetRequest request;
    request.set_name(name);
    dr::v1::RevokeResponse response;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->RevokeOlder(&client, request, &response);
          }));
    return response.certificates();
}

// The file is opened, and space reserved, before anything is issued; older credentials are revoked
// when the new ones are on disk.
int enroll(Context& context, const EnrollOptions& options) {
    const bool to_file = !options.file.empty() && options.file != "-";
    if (options.revoke_older && !to_file) {
        throw Failure(kExitUsage,
                      "--revoke-older wants --out FILE: the new credentials must be safe first");
    }
    std::optional<SecretFile> file;
    if (to_file) {
        file.emplace(options.file);
    }
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::EnrollRequest request;
    request.set_name(options.name);
    request.set_keep_older(options.keep_older);
    dr::v1::Credentials credentials;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->Enroll(&client, request, &credentials);
          }));
    if (to_file) {
        file->keep(to_json(credentials).dump(2) + "\n");
    } else {
        write_pretty(context.out, to_json(credentials));
        check_written(context.out);
    }
    const auto revoked = options.revoke_older ? revoke_older(context, options.name) : 0;
    fmt::print(context.err, "subscriber/{}: credentials issued{}; {}\n", printable(options.name),
               to_file ? " in " + printable(options.file) : "",
               older_text(context, options, revoked));
    return kExitOk;
}

int revoke(Context& context, const std::string& name) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::GetRequest request;
    request.set_name(name);
    dr::v1::RevokeResponse response;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->Revoke(&client, request, &response);
          }));
    if (context.json())
        write_pretty(context.out, to_json(response));
    else
        fmt::print(context.out, "subscriber/{} revoked: {} certificates, {} streams ended\n",
                   printable(name), response.certificates(), response.streams());
    return kExitOk;
}

int rotate_keys(Context& context, const std::string& name) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::GetRequest request;
    request.set_name(name);
    dr::v1::Subscriber subscriber;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->RotateKeys(&client, request, &subscriber);
          }));
    if (context.json()) {
        write_pretty(context.out, to_json(subscriber));
        return kExitOk;
    }
    Table table({{"LINE"}, {"ID", Align::Right}, {"KEY", Align::Right}});
    for (const auto& tunnel : subscriber.tunnels())
        table.add({tunnel.line(), std::to_string(tunnel.id()),
                   tunnel.key_number() == 0 ? "-" : std::to_string(tunnel.key_number())});
    std::fputs(table.flush().c_str(), context.out);
    return kExitOk;
}

std::vector<std::string> row(const dr::v1::AttachmentStatus& status) {
    return {status.subscriber(),
            status.peer(),
            status.version(),
            fmt::format("{} s", status.attached_for_ms() / 1000),
            std::to_string(status.sent_generation()),
            std::to_string(status.applied_generation()),
            status.declined_generation() == 0
                ? "-"
                : fmt::format("{}: {}", status.declined_generation(), status.declined_why())};
}

int attachments(Context& context, const ListOptions& options) {
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    ListWriter writer(context, {{"SUBSCRIBER"},
                                {"PEER"},
                                {"VERSION"},
                                {"FOR", Align::Right},
                                {"SENT", Align::Right},
                                {"APPLIED", Align::Right},
                                {"DECLINED"}});
    dr::v1::ListAttachmentsRequest request;
    request.set_name_prefix(options.prefix);
    for_each_page<dr::v1::ListAttachmentsResponse>(
        context, request, options.limit,
        [&](auto& client, const auto& r, auto* response) {
            return stub->ListAttachments(&client, r, response);
        },
        [](auto& response) { return response.mutable_attachments(); },
        [&](const auto& found) { writer.add(found, row); });
    writer.end();
    return kExitOk;
}

void add_named(CLI::App& group, Context& context, const std::string& command,
               const std::string& help, int (*action)(Context&, const std::string&)) {
    auto name = std::make_shared<std::string>();
    add_command(group, context, command, help,
                [name, action](Context& c) { return action(c, *name); })
        ->add_option("NAME", *name, "The subscriber's name")
        ->required()
        ->type_name("");
}

}  // namespace

void add_enrollment(CLI::App& group, Context& context) {
    auto options = std::make_shared<EnrollOptions>();
    auto* command = add_command(group, context, "enroll",
                                "Issue the credentials of the site's router, as one file",
                                [options](Context& c) { return enroll(c, *options); });
    command->add_option("NAME", options->name, "The subscriber's name")->required()->type_name("");
    command
        ->add_option("--out", options->file,
                     "A regular file, mode 0600, replaced as a whole (default: standard output)")
        ->type_name("FILE");
    auto* keep = command->add_flag("--keep-older", options->keep_older,
                                   "Go on accepting those issued before, for good (default: until "
                                   "the router attaches with the new ones)");
    command
        ->add_flag("--revoke-older", options->revoke_older,
                   "Refuse those issued before at once, when the new ones are in FILE")
        ->excludes(keep);
    add_examples(*command, "drcli subscriber enroll site-42 --out site-42.json");
    add_named(group, context, "revoke",
              "Refuse all credentials of the site's router from now on, and cut its tunnels",
              revoke);
    add_named(group, context, "rotate-keys",
              "Give the tunnels new keys; the present ones stay valid until the next time",
              rotate_keys);
    auto list = std::make_shared<ListOptions>();
    add_list_options(*add_command(group, context, "attachments", "List the routers attached now",
                                  [list](Context& c) { return attachments(c, *list); }),
                     *list);
}

}  // namespace dr::cli

// `drcli subscriber enroll|revoke|rotate-keys|attachments`: the sites' routers and their
// credentials.
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/printable.h"
#include "cli/format.h"
#include "cli/named.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"
#include "process/files.h"

namespace dr::cli {
namespace {

struct EnrollOptions {
    std::string name;
    std::string file;
    bool keep_older = false;
};

[[noreturn]] void unwritable(const std::string& path) {
    throw Failure(kExitUsage, fmt::format("{}: cannot be written: {}", path, std::strerror(errno)));
}

// For its owner alone: it holds a private key. Opened before anything is issued, since what is
// issued and cannot be kept is lost, and has replaced what was.
std::FILE* open_secret(const std::string& path) {
    std::string why;
    const int fd = process::open_regular(path, 0600, &why);
    if (fd < 0) throw Failure(kExitUsage, why);
    struct stat status {};
    if (::fstat(fd, &status) != 0) unwritable(path);
    // Another user's, or one that has another name too, might be read there.
    if (status.st_uid != ::geteuid() || status.st_nlink != 1)
        throw Failure(kExitUsage,
                      path +
                          ": belongs to another user, or has another name (a hard link): a "
                          "secret is written to a file of its own");
    if (::fchmod(fd, 0600) != 0) unwritable(path);
    std::FILE* file = ::fdopen(fd, "w");
    if (file == nullptr) unwritable(path);
    return file;
}

void remove_if_same(int fd, const std::string& path) {
    struct stat opened {};
    struct stat named {};
    if (::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 &&
        opened.st_dev == named.st_dev && opened.st_ino == named.st_ino)
        ::unlink(path.c_str());
}

int enroll(Context& context, const EnrollOptions& options) {
    const bool to_file = !options.file.empty() && options.file != "-";
    const bool fresh = to_file && ::access(options.file.c_str(), F_OK) != 0;
    std::FILE* out = to_file ? open_secret(options.file) : context.out;
    auto stub = dr::v1::Subscribers::NewStub(context.channel());
    dr::v1::EnrollRequest request;
    request.set_name(options.name);
    request.set_keep_older(options.keep_older);
    dr::v1::Credentials credentials;
    const auto status = unary(
        [&](grpc::ClientContext& client) { return stub->Enroll(&client, request, &credentials); });
    if (!status.ok() && fresh) remove_if_same(::fileno(out), options.file);
    if (!status.ok() && to_file) std::fclose(out);
    check(context, status);
    if (to_file && ::ftruncate(::fileno(out), 0) != 0) unwritable(options.file);
    write_pretty(out, to_json(credentials));
    if (to_file) {
        const bool failed = std::ferror(out) != 0;
        if (std::fclose(out) != 0 || failed) unwritable(options.file);
    }
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
        ->add_option("--out", options->file, "A regular file, mode 0600 (default: standard output)")
        ->type_name("FILE");
    command->add_flag("--keep-older", options->keep_older,
                      "Go on accepting the credentials issued before");
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

// Turns gRPC statuses into sentences and exit codes.
#include "cli/errors.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/printable.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace dr::cli {
namespace {

std::string sentence_of(grpc::StatusCode code) {
    switch (code) {
        case grpc::StatusCode::INVALID_ARGUMENT:
            return "the request is not valid";
        case grpc::StatusCode::NOT_FOUND:
            return "no such object";
        case grpc::StatusCode::ALREADY_EXISTS:
            return "an object of that name exists already";
        case grpc::StatusCode::ABORTED:
            return "the stored revision is another one: read the object again";
        case grpc::StatusCode::FAILED_PRECONDITION:
            return "references between objects forbid it";
        case grpc::StatusCode::RESOURCE_EXHAUSTED:
            return "a limit or a table is full";
        case grpc::StatusCode::UNAVAILABLE:
            return "the server is not available";
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return "the server did not answer in time";
        case grpc::StatusCode::UNIMPLEMENTED:
            return "the server does not know this request";
        case grpc::StatusCode::PERMISSION_DENIED:
            return "permission denied";
        case grpc::StatusCode::UNAUTHENTICATED:
            return "the server wants a client certificate";
        case grpc::StatusCode::CANCELLED:
            return "the request was cancelled";
        default:
            return fmt::format("the server failed with status {}", static_cast<int>(code));
    }
}

// Errors of this end get drcli's own text; the server's text is kept.
std::string message_of(const grpc::Status& status) {
    const auto code = status.error_code();
    if (code == grpc::StatusCode::DEADLINE_EXCEEDED || code == grpc::StatusCode::UNIMPLEMENTED ||
        status.error_message().empty()) {
        return sentence_of(code);
    }
    return printable_lines(status.error_message());
}

}  // namespace

std::string describe(const grpc::Status& status) {
    std::string text = message_of(status);
    google::rpc::Status details;
    if (status.error_details().empty() || !details.ParseFromString(status.error_details())) {
        return text;
    }
    std::vector<std::string> lines;
    for (const auto& detail : details.details()) {
        google::rpc::BadRequest request;
        if (!detail.UnpackTo(&request)) {
            continue;
        }
        for (const auto& violation : request.field_violations()) {
            lines.push_back(
                printable(fmt::format("{}: {}", violation.field(), violation.description())));
        }
    }
    // The message of a single violation is that violation.
    if (lines.size() == 1 && lines.front() == text) {
        return text;
    }
    for (const auto& line : lines) {
        text += "\n  " + line;
    }
    return text;
}

int exit_code_of(const grpc::Status& status, bool connected) {
    switch (status.error_code()) {
        case grpc::StatusCode::OK:
            return kExitOk;
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return kExitUsage;
        // The server uses this code too, for its store and for the data plane.
        case grpc::StatusCode::UNAVAILABLE:
            return connected ? kExitRefused : kExitUsage;
        default:
            return kExitRefused;
    }
}

void check(Context& context, const grpc::Status& status) {
    if (status.ok()) {
        return;
    }
    const bool connected = context.channel()->GetState(false) == GRPC_CHANNEL_READY;
    const int code = exit_code_of(status, connected);
    if (code == kExitUsage && status.error_code() == grpc::StatusCode::UNAVAILABLE) {
        throw Failure(code, fmt::format("lost the connection to {}: {}", context.options.server,
                                        describe(status)));
    }
    throw Failure(code, describe(status));
}

void watch_ended(Context& context, const grpc::Status& status) {
    check(context, status);
    throw Failure(kExitUsage, fmt::format("{} ended the watch", context.options.server));
}

}  // namespace dr::cli

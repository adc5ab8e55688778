// Numbers connections, counts their open calls and names the client of a call.
#include "control/api/callers.h"

#include <charconv>

namespace dr::control {
namespace {

constexpr const char* kClient = "dr_client";
constexpr const char* kConnection = "dr_connection";

std::string property(const grpc::AuthContext& context, const char* name) {
    const auto found = context.FindPropertyValues(name);
    return found.empty() ? std::string() : std::string(found.front().data(), found.front().size());
}

std::uint64_t number(const std::string& connection) {
    std::uint64_t n = 0;
    std::from_chars(connection.data(), connection.data() + connection.size(), n);
    return n;
}

}  // namespace

Caller caller_of(const grpc::ServerContextBase& context) {
    const auto auth = context.auth_context();
    Caller caller;
    if (auth) caller = {property(*auth, kClient), property(*auth, kConnection)};
    if (caller.connection.empty()) caller.client = caller.connection = context.peer();
    return caller;
}

std::uint64_t OpenCalls::next_connection() {
    const std::lock_guard lock(mutex_);
    return ++connections_;
}

bool OpenCalls::begin(const std::string& connection) {
    const std::lock_guard lock(mutex_);
    unsigned& open = open_[number(connection)];
    if (open >= kMostOfConnection) return false;
    ++open;
    if (open_.size() > kMostConnections) open_.erase(open_.begin());
    return true;
}

void OpenCalls::end(const std::string& connection) {
    const std::lock_guard lock(mutex_);
    const auto at = open_.find(number(connection));
    if (at != open_.end() && --at->second == 0) open_.erase(at);
}

CallGate::CallGate(OpenCalls& calls, std::function<std::string(const grpc::AuthContext&)> client,
                   std::shared_ptr<grpc::AuthMetadataProcessor> also)
    : calls_(calls), client_(std::move(client)), also_(std::move(also)) {}

grpc::Status CallGate::Process(const InputMetadata& metadata, grpc::AuthContext* context,
                               OutputMetadata* consumed, OutputMetadata* response) {
    if (also_ != nullptr)
        if (auto status = also_->Process(metadata, context, consumed, response); !status.ok())
            return status;
    std::string connection;
    {
        const std::lock_guard lock(mutex_);
        connection = property(*context, kConnection);
        if (connection.empty()) {
            connection = std::to_string(calls_.next_connection());
            context->AddProperty(kClient, client_(*context));
            context->AddProperty(kConnection, connection);
        }
    }
    if (calls_.begin(connection)) return grpc::Status::OK;
    return {grpc::StatusCode::RESOURCE_EXHAUSTED,
            "this connection has too many calls open; end some, or use another connection"};
}

}  // namespace dr::control

// The channel to drd, and deadlines.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>

#include "cli/context.h"

namespace dr::cli {

// How long a connection attempt and a single request may take.
inline constexpr std::chrono::seconds kConnectTimeout{5};
inline constexpr std::chrono::seconds kCallTimeout{30};

// The gRPC target of a --server value: "unix:PATH", an absolute path, or HOST:PORT.
[[nodiscard]] std::string target_of(const std::string& server);
[[nodiscard]] bool is_local(const std::string& server);

// A channel that need not be connected. TCP without the three TLS files is a usage error, as is
// a TLS file that cannot be read (Failure).
[[nodiscard]] std::shared_ptr<grpc::Channel> make_channel(const GlobalOptions& options);

// Waits until the channel is connected. Throws Failure(kExitUsage) with the reason if it does not
// connect.
void connect(grpc::Channel& channel, const GlobalOptions& options);

// Why a connection failed: "No such file or directory (is drd running?)".
[[nodiscard]] std::string connection_failure(const GlobalOptions& options);

// A unary call with the deadline of kCallTimeout: call(context) -> grpc::Status.
template <class Call>
grpc::Status unary(Call&& call) {
    grpc::ClientContext client;
    client.set_deadline(std::chrono::system_clock::now() + kCallTimeout);
    return call(client);
}

}  // namespace dr::cli

// Names the callers of the operators' API, and counts the open calls of each connection.
//
// gRPC's own limit of streams applies once the peer has acknowledged it, which the peer may never
// do. A call takes memory from its headers on, before it has a handler. So each connection gets a
// number with its first call, and its calls are counted where the headers are read. Properties of
// gRPC's AuthContext carry both to the handlers.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_metadata_processor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>

namespace dr::control {

struct Caller {
    // A user of the Unix socket, or the owner of a certificate.
    std::string client;
    std::string connection;
};
// The caller of a call that a CallGate has let in. For any other call both members are the peer's
// address.
[[nodiscard]] Caller caller_of(const grpc::ServerContextBase& context);

// Calls that are open, of each connection. Any thread.
class OpenCalls {
  public:
    // Twice the limit that the peer is told (MAX_CONCURRENT_STREAMS), because a call ends at the
    // peer before it ends here.
    static constexpr unsigned kMostOfConnection = 200;

    [[nodiscard]] std::uint64_t next_connection();
    // False: the connection has too many.
    bool begin(const std::string& connection);
    void end(const std::string& connection);

  private:
    // The end of a call without a handler is not noticed. Such calls count until their connection
    // is forgotten, the oldest first.
    static constexpr std::size_t kMostConnections = 16'384;
    std::mutex mutex_;  // below
    std::uint64_t connections_ = 0;
    std::map<std::uint64_t, unsigned> open_;
};

// Asked by gRPC's core about each call as soon as its headers are there. Any thread.
class CallGate final : public grpc::AuthMetadataProcessor {
  public:
    // `client` names the client, once for each connection; `also` is asked about each call.
    CallGate(OpenCalls& calls, std::function<std::string(const grpc::AuthContext&)> client,
             std::shared_ptr<grpc::AuthMetadataProcessor> also = nullptr);
    [[nodiscard]] bool IsBlocking() const override { return false; }
    grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                         OutputMetadata* consumed, OutputMetadata* response) override;

  private:
    OpenCalls& calls_;
    const std::function<std::string(const grpc::AuthContext&)> client_;
    const std::shared_ptr<grpc::AuthMetadataProcessor> also_;
    std::mutex mutex_;  // the first call of a connection adds to its context
};

}  // namespace dr::control

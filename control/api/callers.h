// Who calls the operators' API, and how many calls of a connection are open.
//
// gRPC's own limit of streams counts from the moment at which the peer acknowledges it, which is
// left to the peer, and a call takes memory from its headers on, before there is a handler for it.
// So each connection gets a number with its first call, and its calls are counted where the headers
// are read. Properties of gRPC's AuthContext carry both to the handlers.
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
// Of a call that a CallGate has let in; of another one both are the peer's address.
[[nodiscard]] Caller caller_of(const grpc::ServerContextBase& context);

// Calls that are open, of each connection. Any thread.
class OpenCalls {
  public:
    // Twice what the peer is told (MAX_CONCURRENT_STREAMS), since a call is over for the peer
    // before it is here.
    static constexpr unsigned kMostOfConnection = 200;

    [[nodiscard]] std::uint64_t next_connection();
    // False: the connection has too many.
    bool begin(const std::string& connection);
    void end(const std::string& connection);

  private:
    // Calls that end before they have a handler are not seen to end, and count until their
    // connection is forgotten, the oldest first.
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

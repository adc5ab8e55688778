// Listens on TCP for peers that are not authenticated yet, and accepts them in gRPC's place.
//
// gRPC's own listener ends for ever when accept() finds no descriptor free, and every peer that
// connects takes one before it has shown a certificate. This one accepts in gRPC's place, and
// closes a connection at once when it would take one of the descriptors that are kept for the
// store, the data plane and the operator's Unix socket.
#pragma once

#include <grpcpp/server_builder.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"
#include "control/daemon/connections.h"

namespace dr::control {

// RLIMIT_NOFILE to use: the hard limit, capped so that handshakes on all descriptors take at most a
// quarter of `memory` (bytes). Never below the soft limit, which the operator may have set on
// purpose.
[[nodiscard]] std::uint64_t descriptors_for(std::uint64_t soft, std::uint64_t hard,
                                            std::uint64_t memory);
// Sets it for this process.
void raise_descriptor_limit();

class Listener {
  public:
    using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

    // Listens on all addresses of "HOST:PORT"; 0.0.0.0, [::] and * are every address of both
    // families. `option` is named in errors. Throws StartError.
    Listener(const std::string& option, const std::string& address);
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener();

    // Registers with a server that is being built, and sets on it what a listener for strangers
    // needs: a handshake is done in 10 s, and a connection without a call goes after 60 s, a
    // watched one after 10 s.
    void add_to(grpc::ServerBuilder& builder,
                const std::shared_ptr<grpc::ServerCredentials>& credentials);
    // Limits the bytes of each connection, and the number of connections: a source may have at most
    // half of all, and connections without a stream are at most half. Before start(). Lives as long
    // as the listener.
    Connections& watch_connections();
    // How many connections a source may have at a time (of IPv6 a source is a /64); nothing else is
    // watched. `server`: what messages call it. Before start().
    void limit_sources(std::size_t most, const char* server);
    // Accepts, once the server has started.
    void start();
    // Idempotent.
    void stop();

  private:
    void run();
    // False: no connection was waiting.
    bool accept_one(int socket);
    void say_full();

    std::vector<FileDescriptor> sockets_;
    FileDescriptor wake_;
    int last_descriptor_ = 0;  // the highest that a connection may have
    std::optional<Connections> connections_;
    bool watched_ = false;  // all that connections_ can
    std::chrono::steady_clock::time_point said_full_{};
    std::unique_ptr<Acceptor> acceptor_;
    std::thread thread_;
};

}  // namespace dr::control

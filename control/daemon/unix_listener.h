// The Unix socket of the operators' API, and who lets them in.
//
// gRPC cannot tell the peers of a Unix socket from each other. This one accepts in its place, asks
// the kernel whose each connection is, and hands those of each user to an acceptor of that user's,
// whose credentials know the name. A user who has as many connections as may be loses the oldest
// one to the newest: a program that hangs keeps nobody, its own user included, from the API.
#pragma once

#include <grpcpp/server_builder.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.h"

namespace dr::control {

class UnixListener {
  public:
    static constexpr std::size_t kMostOfUser = 128;  // connections at a time
    // Users at a time who are told apart; further ones are one user together.
    static constexpr std::size_t kMostUsers = 16;

    // Makes the socket with mode 0660, and listens. A dead socket there is replaced. Throws
    // StartError. Sets the process's umask for a moment: no other thread makes files meanwhile.
    explicit UnixListener(const std::string& path);
    UnixListener(const UnixListener&) = delete;
    UnixListener& operator=(const UnixListener&) = delete;
    ~UnixListener();

    // Names the user of a connection, whenever it is asked. Lives as long as the listener.
    using User = std::function<std::string()>;
    // Registers with a server that is being built. `gate` makes what is asked about each call of
    // one user's connections.
    void add_to(
        grpc::ServerBuilder& builder,
        const std::function<std::shared_ptr<grpc::AuthMetadataProcessor>(const User&)>& gate);
    // Accepts, once the server has started.
    void start();
    // Removes the socket's file where this process may. Idempotent.
    void stop();

  private:
    struct Connection {
        int fd;  // gRPC's; it is this connection's as long as the cookie is
        std::uint64_t cookie;
    };
    struct Desk {
        std::atomic<std::int64_t> user{kNobody};
        std::deque<Connection> connections;  // the oldest first
        std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    };
    static constexpr std::int64_t kNobody = -1;
    static constexpr std::int64_t kOthers = -2;

    void run();
    void accept_one();
    Desk& desk_of(std::int64_t user);

    const std::string path_;
    FileDescriptor socket_;
    FileDescriptor wake_;
    std::vector<std::unique_ptr<Desk>> desks_;
    std::chrono::steady_clock::time_point said_{};
    std::thread thread_;
};

}  // namespace dr::control

// Listens on the Unix socket of the operators' API, and accepts connections in gRPC's place.
//
// gRPC cannot tell the peers of a Unix socket from each other. This class accepts in its place,
// asks the kernel for the user of each connection, and gives the connection to that user's
// acceptor, whose credentials hold the name. When a user has the maximum of connections, a new one
// ends the oldest. So a program that hangs keeps nobody from the API, not even its own user.
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
    // Users at a time that are counted separately; all further ones together count as one user.
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

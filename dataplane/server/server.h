// The southbound server: an AF_UNIX stream socket, driven from the writer thread by poll().
//
// It never blocks on a client: everything is non-blocking, what is waiting to be sent is bounded,
// and a client that does not read is dropped. Input that cannot be understood is answered with
// Error, then the connection is closed.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "dataplane/server/counters_memfd.h"
#include "dataplane/server/drops_memfd.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "dataplane/writer/table_writer.h"

namespace dr::southbound {

struct ServerConfig {
    std::string path = kDefaultSocket;
    // Group that owns the socket; its members may connect. Empty: the process's own.
    std::string group;
    // Bytes waiting for one client; one that has more is dropped.
    std::size_t max_outgoing = 1024 * 1024;
    unsigned max_clients = 32;
    // Null: there are no liveness threads, and GetLiveness is refused. Outlives the server.
    const LivenessMemfd* liveness = nullptr;
    // Null: dropped packets are not noted, and GetDrops is refused. Outlives the server.
    const DropsMemfd* drops = nullptr;

    // Called in the writer thread.
    // Adds what the server does not know to a State that is about to be sent. Empty: nothing.
    std::function<void(State* state)> report;
    // Replay: packets of steps below `step` may come in. Empty: AdvanceGate is refused.
    std::function<void(std::uint32_t step)> on_advance_gate;
};

class Server final {
  public:
    // Binds (mode 0660) and listens. A socket file left by a dead process is replaced; one that a
    // live process listens on is not. Null and a reason on failure. `writer` and `counters` outlive
    // the server.
    static std::unique_ptr<Server> create(ServerConfig config, TableWriter& writer,
                                          CountersMemfd& counters, std::string* error);
    // Removes the socket file.
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

    // Waits at most timeout_ms (0: not at all) for something to do and does it.
    void poll(int timeout_ms);
    // Readable when poll() has something to do: to wait on it together with others.
    [[nodiscard]] int epoll_fd() const;

    // Sends an event to all clients that subscribed. sequence and at_ns are filled in.
    void publish(EventKind kind, std::uint32_t id, std::uint64_t value);

    [[nodiscard]] bool draining() const;
    [[nodiscard]] unsigned clients() const;
    // Takes over a connected stream socket as if it had been accepted (tests, fuzzing). The peer's
    // credentials are checked as usual; false: refused, the descriptor is closed.
    bool adopt(int fd);

  private:
    Server();
    struct Core;
    std::unique_ptr<Core> core_;
};

}  // namespace dr::southbound

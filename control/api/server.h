// The gRPC server: all services, health, reflection, on a Unix socket or on TCP with mutual TLS.
#pragma once

#include <memory>
#include <optional>

#include "control/api/change_feed.h"
#include "control/api/status.h"
#include "control/api/watches.h"
#include "control/api/work.h"
#include "control/daemon/listener.h"
#include "control/daemon/options.h"
#include "control/daemon/privileges.h"
#include "control/daemon/unix_listener.h"
#include "control/events/event_tail.h"
#include "control/signalling/credentials.h"
#include "control/signalling/hub.h"

namespace dr::control {

class Server {
  public:
    // What it serves; all outlive it.
    struct Parts {
        Catalog& catalog;
        Link& link;
        ChangeFeed& feed;
        Credentials& credentials;
        SignallingHub& hub;
        EventLog& log;
        EventTail& events;
        Journal& journal;
    };
    // Listens when it returns, on the Unix socket, on TCP, or on both. The socket's directory is
    // made, a socket that nobody listens on is replaced. Throws StartError.
    Server(const Options& options, const Privileges& privileges, const Parts& parts);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    // Streams end by themselves; calls that are not done after half a second are cut off.
    void stop();

  private:
    struct Services;
    Stopping stopping_;
    OpenCalls calls_;
    StreamLimit watches_;
    StreamLimit applies_;
    StallGuard stalls_;
    Work work_;
    std::unique_ptr<Services> services_;
    std::optional<Listener> listener_;  // on TCP
    std::unique_ptr<UnixListener> on_socket_;
    std::unique_ptr<grpc::Server> server_;
};

}  // namespace dr::control

// The listener for URs: gRPC over TLS 1.3 with certificates on both ends, apart from the operator's
// API.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/daemon/listener.h"
#include "control/daemon/options.h"
#include "control/signalling/credentials.h"
#include "control/signalling/gate.h"
#include "control/signalling/hub.h"

namespace dr::control {

class SignallingServer {
  public:
    // Listens when it returns. Throws StartError.
    SignallingServer(const Options& options, Credentials& credentials, SignallingHub& hub);
    SignallingServer(const SignallingServer&) = delete;
    SignallingServer& operator=(const SignallingServer&) = delete;
    ~SignallingServer();

    // After the hub's stop(): streams that are not done in half a second are cut off. Idempotent.
    void stop();

  private:
    class Service;
    Gate gate_;
    Listener listener_;
    Connections& connections_;  // the listener's
    std::unique_ptr<Service> service_;
    std::unique_ptr<grpc::Server> server_;
};

}  // namespace dr::control

// The data plane as a whole: puts tables, ports, workers and the southbound server together, and
// runs the writer.
//
// Thread: main, which becomes the writer in run().
#pragma once

#include <memory>
#include <string>

#include "dataplane/config/config.h"

namespace dr {

class DataPlane final {
  public:
    // Everything up to running workers and an accepting socket. no_huge: leave huge pages alone.
    // Null and a reason; nothing is left behind.
    static std::unique_ptr<DataPlane> start(const Config& config, bool no_huge, std::string* error);
    // Stops the workers, closes the ports (captures are flushed, steering programs detached) and
    // removes the socket.
    ~DataPlane();
    DataPlane(const DataPlane&) = delete;
    DataPlane& operator=(const DataPlane&) = delete;

    // The writer's loop, until SIGTERM or SIGINT comes by way of signal_fd (a signalfd).
    void run(int signal_fd);

  private:
    DataPlane();
    struct Core;
    std::unique_ptr<Core> core_;
};

}  // namespace dr

// All ports of the data plane: opened, started, stopped and closed together.
//
// Thread: main.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/ports/device.h"
#include "dataplane/ports/eal.h"
#include "dataplane/ports/steering_maps.h"

struct rte_mempool;

namespace dr {

class PortSet final {
  public:
    // Every port or none: a port that does not appear, or does not start, stops the start with an
    // error that names it and says why. `log`: where the drivers' own words are.
    static std::unique_ptr<PortSet> start(const Config& config, StartLog& log, std::string* error);
    // Stops and closes all, detaches the steering programs. No worker may run any more.
    ~PortSet();
    PortSet(const PortSet&) = delete;
    PortSet& operator=(const PortSet&) = delete;

    [[nodiscard]] const Ports& ports() const { return ports_; }
    // For packets that workers and the writer make.
    [[nodiscard]] rte_mempool* pool() const { return pools_.begin()->second; }
    [[nodiscard]] SteeringMaps& steering() { return steering_; }

  private:
    PortSet() = default;
    bool open(const PortConfig& config, const Config& all, std::string* error);
    bool open_exception(const PortConfig& config, Port* port, rte_mempool* pool,
                        std::string* error);
    rte_mempool* pool_of(int socket, const Config& config, std::string* error);

    Ports ports_;
    std::map<int, rte_mempool*> pools_;  // by NUMA node
    std::map<int, unsigned> buffers_;    // taken by queues, by NUMA node
    std::optional<XdpObjectFile> xdp_object_;
    std::vector<std::unique_ptr<Device>> devices_;
    SteeringMaps steering_;
    std::vector<std::string> steered_;  // interfaces with a steering program
    std::uint16_t data_room_ = 0;
};

}  // namespace dr

// All ports of the data plane: opened, started, stopped and closed together.
//
// Thread: main.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ports/assignment.h"
#include "dataplane/ports/device.h"
#include "dataplane/ports/eal.h"
#include "dataplane/ports/packet_pool.h"
#include "dataplane/ports/steering_maps.h"
#include "dataplane/southbound/protocol.h"

struct rte_mempool;

namespace dr {

class PortSet final {
  public:
    // Opens every port or none: a port that does not appear, or does not start, stops the start
    // with an error that names it and says why. `log`: the drivers' own log. worker_nodes: the NUMA
    // node of each worker's CPU.
    static std::unique_ptr<PortSet> start(const Config& config,
                                          const std::vector<int>& worker_nodes, StartLog& log,
                                          std::string* error);
    // Stops and closes all, detaches the steering programs. No worker may run any more.
    ~PortSet();
    PortSet(const PortSet&) = delete;
    PortSet& operator=(const PortSet&) = delete;

    [[nodiscard]] const Ports& ports() const { return ports_; }
    // For packets that workers and the writer make.
    [[nodiscard]] rte_mempool* pool() const { return pools_.at(assignment_.own_pool_node)->get(); }
    // Which worker polls which queues, and the NUMA node of its memory.
    [[nodiscard]] const Assignment& assignment() const { return assignment_; }
    // For the operator, one line for each port: its chosen configuration.
    [[nodiscard]] const std::vector<std::string>& choices() const { return choices_; }
    [[nodiscard]] SteeringMaps& steering() { return steering_; }
    // Rings of an AF_XDP port, by receive queue; empty: the port is closed, or they could not be
    // found.
    [[nodiscard]] std::span<const std::unique_ptr<XskRings>> rings(std::uint16_t port) const;
    [[nodiscard]] const PortConfig& config(std::uint16_t port) const { return configs_[port]; }

    // The repair of an AF_XDP port (port_repair.cpp). The port must not be used from before close()
    // until reopen() has succeeded.
    //
    // Closes the device, and gives back the packet buffers in its rings. Returns how many were
    // elsewhere (in a NIC) and are lost.
    unsigned close(std::uint16_t port);
    // Opens it again; its row in ports() is then that of the new device. false and a reason.
    bool reopen(std::uint16_t port, std::string* error);
    // Takes over the interface's present MAC address, unless the configuration gives another.
    void follow_mac(std::uint16_t port);

    // Packet buffers, a row for each: "buffers", or "buffers.N" where there are several NUMA nodes.
    void report(southbound::State* state) const;

  private:
    PortSet() = default;
    struct Opened;
    bool open(const PortConfig& config, const Config& all, Opened* opened, std::string* error);
    bool make_pools(const Config& config, std::string* error);
    bool bring_up(const PortConfig& config, const Config& all, std::uint16_t number, Opened& opened,
                  std::string* error);
    bool open_exception(const PortConfig& config, std::uint16_t number, Port* port,
                        std::string* error);
    [[nodiscard]] bool enough_buffers(const Config& config, int node, std::string* error) const;
    rte_mempool* pool_of(std::uint16_t port) const {
        return pools_.at(assignment_.pool_nodes[port])->get();
    }

    Ports ports_;
    std::map<int, std::unique_ptr<PacketPool>> pools_;  // by NUMA node
    std::map<int, unsigned> buffers_;                   // taken by queues, by NUMA node
    std::optional<XdpObjectFile> xdp_object_;
    std::vector<std::unique_ptr<Device>> devices_;  // by port
    std::vector<std::unique_ptr<Device>> taps_;     // mirrors of PCI ports
    std::vector<PortConfig> configs_;
    std::vector<DeviceWish> wishes_;
    unsigned workers_ = 0;
    SteeringMaps steering_;
    std::vector<std::string> steered_;  // interfaces with a steering program
    std::uint16_t data_room_ = 0;
    unsigned opened_ = 0;
    Assignment assignment_;
    std::vector<std::string> choices_;
};

}  // namespace dr

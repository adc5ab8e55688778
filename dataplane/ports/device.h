// One DPDK device of a port: made, configured and started by its kind, closed at the end.
//
// Thread: main.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/config/config.h"
#include "dataplane/ports/device_plan.h"
#include "dataplane/ports/port.h"
#include "dataplane/ports/xsk_rings.h"

struct rte_mempool;

namespace dr {

class Device final {
  public:
    // Creates a vdev, or finds the PCI device, under a name of its own. xdp_object: path of the
    // steering program. Null and a reason: it did not appear.
    static std::unique_ptr<Device> open(const PortConfig& config, unsigned number, unsigned workers,
                                        const std::string& xdp_object, std::string* error);
    // Creates the kernel interface for a PCI port's other packets; mac: the port's.
    static std::unique_ptr<Device> open_tap(const std::string& interface, unsigned number,
                                            const wire::Mac& mac, std::string* error);
    // Stops and closes: files are flushed, the kernel's interface is free again, and so is the name
    // of an AF_XDP device. Mapped rings are unmapped first.
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // Queues, offloads and receive-side scaling by what the device can do.
    bool plan(const DeviceWish& wish, DevicePlan* plan, std::string* error) const;
    // Configures the device as planned. If a driver refuses what it announced, less is configured
    // and `plan` is changed to match. Queues' memory is on `node`, and received packets in `pool`.
    // `port` receives the result.
    bool configure(DevicePlan* plan, int node, rte_mempool* pool, Port* port, std::string* error);
    bool start(std::string* error);
    // Of an AF_XDP device, by receive queue; empty where they could not be found.
    [[nodiscard]] std::span<const std::unique_ptr<XskRings>> rings() const { return rings_; }
    // Link-level flow control off (IEEE 802.3 annex 31B), where the device has it: a full queue
    // must drop packets, and not make the switch wait. false: it is on.
    [[nodiscard]] bool refuse_pause_frames() const;
    // Packet buffers that its queues may hold at once.
    [[nodiscard]] unsigned buffers(const DevicePlan& plan) const;
    [[nodiscard]] std::uint16_t max_rx_queues() const;

    [[nodiscard]] std::uint16_t id() const { return id_; }
    [[nodiscard]] int socket() const;  // NUMA node; -1: none in particular
    [[nodiscard]] wire::Mac mac() const;
    bool set_mac(const wire::Mac& mac, std::string* error) const;
    // All multicast, for a port whose kernel mirror does neighbour discovery.
    void receive_multicast() const;

  private:
    Device(PortKind kind, std::string name) : kind_(kind), name_(std::move(name)) {}
    bool appear(const std::string& arguments, std::string* error);
    int set_up_rx(std::uint16_t queue, const DevicePlan& plan, unsigned node, rte_mempool* pool);

    PortKind kind_;
    std::string name_;
    std::uint16_t id_ = Port::kNoPort;
    bool appeared_ = false;
    bool started_ = false;
    std::vector<std::unique_ptr<XskRings>> rings_;
};

// Queue pairs to make, from what is configured and from the number of workers, each of which
// transmits on a queue of its own.
std::uint16_t rx_queues_of(const PortConfig& config, unsigned workers);

}  // namespace dr

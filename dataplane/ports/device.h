// One DPDK device of a port: made, configured and started by its kind, closed at the end.
//
// Thread: main.
#pragma once

#include <memory>
#include <string>

#include "dataplane/config.h"
#include "dataplane/ports/port.h"

struct rte_mempool;

namespace dr {

class Device final {
  public:
    // Makes the device (a vdev, or finds the PCI one) under a name of its own. xdp_object: path of
    // the steering program. Null and a reason: it did not appear.
    static std::unique_ptr<Device> open(const PortConfig& config, unsigned number, unsigned workers,
                                        const std::string& xdp_object, std::string* error);
    // The kernel interface that takes and gives a PCI port's other packets; mac: the port's.
    static std::unique_ptr<Device> open_tap(const std::string& interface, unsigned number,
                                            const wire::Mac& mac, std::string* error);
    // Stops and closes: files are flushed, the kernel's interface is free again.
    ~Device();
    Device(const Device&) = delete;
    Device& operator=(const Device&) = delete;

    // Queues, offloads and receive-side scaling by what the device can do. mtu 0: as it is.
    // On success `port` says what has come of it.
    bool configure(std::uint16_t rx_queues, std::uint16_t tx_queues, std::uint16_t mtu,
                   rte_mempool* pool, Port* port, std::string* error);
    bool start(std::string* error);
    // Packet buffers that its queues may hold at once.
    [[nodiscard]] unsigned buffers(std::uint16_t rx_queues, std::uint16_t tx_queues) const;

    [[nodiscard]] std::uint16_t id() const { return id_; }
    [[nodiscard]] int socket() const;  // NUMA node; -1: none in particular
    [[nodiscard]] wire::Mac mac() const;
    bool set_mac(const wire::Mac& mac, std::string* error) const;
    // All multicast, for a port whose kernel mirror does neighbour discovery.
    void receive_multicast() const;

  private:
    Device(PortKind kind, std::string name) : kind_(kind), name_(std::move(name)) {}
    bool appear(const std::string& arguments, std::string* error);

    PortKind kind_;
    std::string name_;
    std::uint16_t id_ = Port::kNoPort;
    bool started_ = false;
};

// Queue pairs to make, from what is configured and from the number of workers, each of which
// transmits on a queue of its own.
std::uint16_t rx_queues_of(const PortConfig& config, unsigned workers);

}  // namespace dr

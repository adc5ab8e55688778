// Closing and opening one AF_XDP port again, while the others go on.
#include <fmt/format.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "dataplane/ports/bpf_ids.h"
#include "dataplane/ports/interface.h"
#include "dataplane/ports/port_set.h"

namespace dr {

namespace {

// Buffers that a new queue takes at once, and those that should then be left for packets. A queue
// that does not get its buffers would leave its memory registered with the kernel.
constexpr unsigned kFirstFill = 2'048;
constexpr unsigned kSpare = 256;

// Unmaps the remaining rings of a closed socket: a mapping keeps the socket, and with it the queue.
void unmap_socket(ino_t inode) {
    const std::string name = fmt::format("socket:[{}]", inode);
    std::ifstream lines("/proc/self/maps");
    std::vector<std::pair<std::uintptr_t, std::uintptr_t>> ranges;
    for (std::string line; std::getline(lines, line);) {
        std::uintptr_t begin = 0;
        std::uintptr_t end = 0;
        if (line.ends_with(name) && std::sscanf(line.c_str(), "%lx-%lx", &begin, &end) == 2)
            ranges.emplace_back(begin, end);
    }
    for (const auto& [begin, end] : ranges) munmap(reinterpret_cast<void*>(begin), end - begin);
}

// Closes the device's remaining sockets. Driver 22.11 leaves open the socket that registers the
// memory, and with several queues all sockets except the first. They would keep the queues, and the
// next device could not use them.
void close_device(std::unique_ptr<Device>& device, const std::vector<int>& sockets_of_others) {
    device.reset();
    for (const int fd : xdp_sockets()) {
        if (std::binary_search(sockets_of_others.begin(), sockets_of_others.end(), fd)) continue;
        struct stat file {};
        const bool known = fstat(fd, &file) == 0;
        ::close(fd);
        if (known) unmap_socket(file.st_ino);
    }
}

}  // namespace

std::span<const std::unique_ptr<XskRings>> PortSet::rings(std::uint16_t port) const {
    if (devices_[port] == nullptr) return {};
    return devices_[port]->rings();
}

unsigned PortSet::close(std::uint16_t port) {
    rte_mempool* pool = pool_of(port);
    std::vector<int> others = xdp_sockets();
    for (const auto& rings : rings(port))
        std::erase_if(others, [&](int fd) { return fd == rings->fd(); });
    unsigned handed_over = 0;
    std::unordered_set<rte_mbuf*> buffers;
    const std::uintptr_t base = umem_of(pool).begin + pool->header_size;
    for (const auto& rings : rings(port)) {
        const XskRings::Held held = rings->held();
        handed_over += held.handed_over;
        for (const std::uint64_t offset : held.offsets)
            buffers.insert(reinterpret_cast<rte_mbuf*>(base + offset));
    }
    std::string ignored;
    const std::uint32_t program = steering_.hand_over(configs_[port].interface, &ignored);
    close_device(devices_[port], others);
    if (program != 0) bpf_close_leaked(program);
    // The kernel no longer writes to them.
    for (rte_mbuf* buffer : buffers) rte_pktmbuf_free(buffer);
    const auto found = static_cast<unsigned>(buffers.size());
    return handed_over > found ? handed_over - found : 0;
}

bool PortSet::reopen(std::uint16_t number, std::string* error) {
    const PortConfig& config = configs_[number];
    Port port = ports_[number];
    const unsigned needed = port.rx_queues * kFirstFill + kSpare;
    const unsigned free = rte_mempool_avail_count(pool_of(number));
    if (free < needed) {
        *error = fmt::format("{} packet buffers are free, {} are needed", free, needed);
        return false;
    }
    if (!steering_.guard(config.interface, error)) return false;
    const std::vector<int> others = xdp_sockets();
    auto device = Device::open(config, number, workers_, xdp_object_->path(), error);
    if (device == nullptr) return false;
    DevicePlan plan;
    if (!device->plan(wishes_[number], &plan, error)) return false;
    if (plan.rx_queues != port.rx_queues || plan.tx_queues != port.tx_queues) {
        *error = fmt::format(
            "it has {} receive and {} transmit queues now, and had {} and {}: "
            "ethtool -L, or start dr-dataplane again",
            plan.rx_queues, plan.tx_queues, port.rx_queues, port.tx_queues);
        return false;
    }
    if (!device->configure(&plan, assignment_.pool_nodes[number], pool_of(number), &port, error) ||
        !steering_.add_interface(config.interface, error) || !device->start(error)) {
        std::string ignored;
        std::uint32_t program = steering_.hand_over(config.interface, &ignored);
        if (program == 0) program = xdp_attached_id(config.interface);
        close_device(device, others);
        if (program != 0) bpf_close_leaked(program);
        return false;
    }
    port.ethdev = device->id();
    if (!config.mac) port.mac = device->mac();
    ports_[number] = port;
    devices_[number] = std::move(device);
    return true;
}

void PortSet::follow_mac(std::uint16_t port) {
    const Interface interface = interface_of(configs_[port].interface);
    if (!configs_[port].mac && interface.index != 0) ports_[port].mac = interface.mac;
    ports_[port].other_macs = macs_above(configs_[port].interface);
}

}  // namespace dr

#include "dataplane/ports/port_set.h"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace dr {

namespace {

// A page less what a buffer has besides its data (structure, mempool header, alignment), and the
// MTU that a kernel driver takes with an XDP program attached, both rounded down.
constexpr std::uint16_t kMaxXdpDataRoom = 4'096 - 320;
constexpr unsigned kMaxXdpMtu = 3'498;
constexpr unsigned kPoolCache = 256;  // buffers that an lcore keeps for itself

struct Interface {
    bool up = false;
    std::uint16_t mtu = 1500;
};

Interface interface_of(const std::string& name) {
    Interface found;
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0)
        found.up = (request.ifr_flags & IFF_UP) != 0;
    if (ioctl(socket.get(), SIOCGIFMTU, &request) == 0)
        found.mtu = static_cast<std::uint16_t>(std::min(request.ifr_mtu, 65'535));
    return found;
}

// The interface's MTU, unless the file asks for a smaller one.
bool kernel_mtu(const PortConfig& config, std::uint16_t* mtu, std::string* error) {
    const Interface interface = interface_of(config.interface);
    if (if_nametoindex(config.interface.c_str()) != 0 && !interface.up) {
        *error =
            fmt::format("{} is down: ip link set dev {} up", config.interface, config.interface);
        return false;
    }
    *mtu = config.mtu.value_or(interface.mtu);
    if (*mtu > interface.mtu) {
        *error = fmt::format("mtu {} is more than the {} of {}: ip link set dev {} mtu {}", *mtu,
                             interface.mtu, config.interface, config.interface, *mtu);
        return false;
    }
    return true;
}

// A TAP's two ends must differ: the kernel's is the device's, this is ours.
wire::Mac other_mac(wire::Mac mac) {
    mac[0] = static_cast<std::uint8_t>((mac[0] | 2U) & ~1U);
    mac[5] = static_cast<std::uint8_t>(mac[5] ^ 0x80U);
    return mac;
}

void raise_memory_lock_limit() {
    // AF_XDP's packet memory is locked. As root this does not fail, and else the driver says so.
    const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &limit);
}

}  // namespace

std::unique_ptr<PortSet> PortSet::start(const Config& config, StartLog& log, std::string* error) {
    std::unique_ptr<PortSet> set(new PortSet);
    raise_memory_lock_limit();
    std::uint16_t largest = 1500;
    for (const PortConfig& port : config.ports) {
        const bool kernel = port.kind == PortKind::AfXdp || port.kind == PortKind::AfPacket;
        largest = std::max(largest, port.mtu.value_or(kernel ? interface_of(port.interface).mtu
                                                             : std::uint16_t{1500}));
    }
    set->data_room_ = mbuf_data_room(largest);
    for (const PortConfig& port : config.ports) {
        log.clear();
        std::string why;
        if (set->open(port, config, &why)) continue;
        *error =
            fmt::format("port {} ({}): {}{}", port.name, to_string(port.kind), why, log.text());
        return nullptr;
    }
    return set;
}

rte_mempool* PortSet::pool_of(int socket, const Config& config, std::string* error) {
    const int node = socket < 0 ? static_cast<int>(rte_socket_id()) : socket;
    rte_mempool*& pool = pools_[node];
    if (pool == nullptr)
        pool = rte_pktmbuf_pool_create(fmt::format("packets-{}", node).c_str(), config.mbufs,
                                       kPoolCache, 0, data_room_, node);
    if (pool == nullptr) {
        *error = fmt::format(
            "no memory for {} packet buffers of {} bytes on NUMA node {} ({}): "
            "raise memory_mib or lower mbufs",
            config.mbufs, data_room_, node, rte_strerror(rte_errno));
        pools_.erase(node);
    }
    return pool;
}

bool PortSet::open(const PortConfig& config, const Config& all, std::string* error) {
    Port port;
    port.name = config.name;
    port.kind = config.kind;
    port.gated = config.gated;
    port.has_kernel = config.has_kernel_interface();
    port.mtu = config.mtu.value_or(1500);
    const bool kernel = config.kind == PortKind::AfXdp || config.kind == PortKind::AfPacket;
    if (kernel && !kernel_mtu(config, &port.mtu, error)) return false;
    if (config.kind == PortKind::AfXdp) {
        if (data_room_ > kMaxXdpDataRoom) {
            *error = fmt::format(
                "AF_XDP needs packet buffers that fit a memory page, and those of "
                "all ports are made for the largest MTU: at most {} on every port",
                kMaxXdpMtu);
            return false;
        }
        if (!xdp_object_ && !(xdp_object_ = XdpObjectFile::create(error))) return false;
    }
    const auto number = static_cast<unsigned>(ports_.size());
    auto device = Device::open(config, number, all.workers,
                               xdp_object_ ? xdp_object_->path() : std::string(), error);
    if (device == nullptr) return false;

    port.ethdev = device->id();
    port.mac = device->mac();
    if (config.kind == PortKind::Tap) port.mac = other_mac(port.mac);
    if (config.mac) port.mac = *config.mac;
    if (config.kind == PortKind::Pci && config.mac && !device->set_mac(*config.mac, error))
        return false;

    rte_mempool* pool = pool_of(device->socket(), all, error);
    if (pool == nullptr) return false;
    const std::uint16_t rx = rx_queues_of(config, all.workers);
    std::uint16_t tx = static_cast<std::uint16_t>(all.workers);
    const bool exception = config.kind == PortKind::Pci && port.has_kernel;
    if (exception) ++tx;  // the writer's
    // The kernel's AF_XDP and packet sockets come as pairs of queues.
    if (kernel) tx = std::max(tx, rx);
    unsigned& taken = buffers_[static_cast<int>(device->socket())];
    taken += device->buffers(rx, tx);
    const unsigned needed = taken + (all.workers + 1) * 2 * kPoolCache;
    if (needed > all.mbufs) {
        *error = fmt::format(
            "mbufs: {} are too few: the queues of the ports up to this one and the "
            "workers may hold {}",
            all.mbufs, needed);
        return false;
    }
    // Only now: from here to the driver's attaching there is no steering program.
    if (config.kind == PortKind::AfXdp && !steering_.take_over(config.interface, error))
        return false;
    const std::uint16_t mtu = config.kind == PortKind::Pci ? port.mtu : std::uint16_t{0};
    devices_.push_back(std::move(device));
    Device& opened = *devices_.back();
    if (!opened.configure(rx, tx, mtu, pool, &port, error)) return false;
    if (config.kind == PortKind::AfXdp) {
        if (!steering_.add_interface(config.interface, error)) return false;
        steered_.push_back(config.interface);
    }
    if (exception) opened.receive_multicast();
    if (!opened.start(error)) return false;
    if (exception && !open_exception(config, &port, pool, error)) return false;
    ports_.push_back(port);
    return true;
}

bool PortSet::open_exception(const PortConfig& config, Port* port, rte_mempool* pool,
                             std::string* error) {
    auto tap =
        Device::open_tap(config.interface, static_cast<unsigned>(ports_.size()), port->mac, error);
    if (tap == nullptr) return false;
    port->exception = tap->id();
    devices_.push_back(std::move(tap));
    Port ignored;
    return devices_.back()->configure(1, 1, 0, pool, &ignored, error) &&
           devices_.back()->start(error);
}

PortSet::~PortSet() {
    devices_.clear();
    // The driver detaches on close; this is for a start that failed half-way.
    for (const std::string& interface : steered_) xdp_detach(interface);
    for (const auto& [node, pool] : pools_) rte_mempool_free(pool);
}

}  // namespace dr

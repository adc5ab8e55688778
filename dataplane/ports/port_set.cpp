// Opens, starts, stops and closes all ports.
#include "dataplane/ports/port_set.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>

#include "dataplane/ports/advertisements.h"
#include "dataplane/ports/interface.h"
#include "dataplane/ports/rx_queues.h"
#include "dataplane/ports/rx_vlan.h"

namespace dr {

namespace {

// A page less what a buffer has besides its data (structure, mempool header, alignment), and the
// MTU that a kernel driver takes with an XDP program attached, both rounded down.
constexpr std::uint16_t kMaxXdpDataRoom = 4'096 - 320;
constexpr unsigned kMaxXdpMtu = 3'498;
constexpr unsigned kPoolCache = 256;  // buffers that an lcore keeps for itself

const char* veth_note(const PortConfig& port) {
    if (port.kind != PortKind::AfXdp || port.vlan_stripping || !is_veth(port.interface)) return "";
    return "; a veth: it shows VLAN tags when txvlan is off on its other end";
}

// The interface's MTU, unless the file asks for a smaller one.
bool kernel_mtu(const PortConfig& config, std::uint16_t* mtu, std::string* error) {
    const Interface interface = interface_of(config.interface);
    if (interface.index != 0 && !interface.up) {
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

// The two ends of a TAP need different MAC addresses: the kernel's end has the device's, this is
// for our end.
wire::Mac other_mac(wire::Mac mac) {
    mac[0] = static_cast<std::uint8_t>((mac[0] | 2U) & ~1U);
    mac[5] = static_cast<std::uint8_t>(mac[5] ^ 0x80U);
    return mac;
}

// The kernel's interface stays the kernel's, and has an MTU and a state.
bool is_kernels(PortKind kind) {
    return kind == PortKind::AfXdp || kind == PortKind::AfPacket;
}

void raise_memory_lock_limit() {
    // AF_XDP's packet memory is locked. As root this does not fail, and else the driver says so.
    const rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
    setrlimit(RLIMIT_MEMLOCK, &limit);
}

}  // namespace

// A port whose device exists but is not configured yet. All devices are created before the first is
// configured, because the memory of one depends on the NUMA nodes of the others.
struct PortSet::Opened {
    Port port;
    std::unique_ptr<Device> device;
};

std::unique_ptr<PortSet> PortSet::start(const Config& config, const std::vector<int>& worker_nodes,
                                        StartLog& log, std::string* error) {
    std::unique_ptr<PortSet> set(new PortSet);
    set->workers_ = config.workers;
    set->configs_ = config.ports;
    raise_memory_lock_limit();
    std::uint16_t largest = 1500;
    for (const PortConfig& port : config.ports)
        largest = std::max(
            largest, port.mtu.value_or(is_kernels(port.kind) ? interface_of(port.interface).mtu
                                                             : std::uint16_t{1500}));
    set->data_room_ = mbuf_data_room(largest);
    const auto fail = [&](const PortConfig& port, const std::string& why) {
        *error =
            fmt::format("port {} ({}): {}{}", port.name, to_string(port.kind), why, log.text());
        return nullptr;
    };
    std::vector<Opened> opened(config.ports.size());
    Topology topology{{}, worker_nodes};
    std::string why;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        const PortConfig& port = config.ports[i];
        log.clear();
        if (!set->open(port, config, &opened[i], &why)) return fail(port, why);
        topology.ports.push_back(
            {port.name, opened[i].device->socket(),
             std::min(rx_queues_of(port, config.workers), opened[i].device->max_rx_queues())});
    }
    set->assignment_ = assign(topology);
    if (!set->make_pools(config, error)) return nullptr;
    for (std::size_t i = 0; i < config.ports.size(); ++i) {
        log.clear();
        if (!set->bring_up(config.ports[i], config, static_cast<std::uint16_t>(i), opened[i], &why))
            return fail(config.ports[i], why);
    }
    return set;
}

bool PortSet::make_pools(const Config& config, std::string* error) {
    PoolWish wish;
    wish.buffers = config.mbufs;
    wish.cache = kPoolCache;
    wish.data_room = data_room_;
    for (const PortConfig& port : config.ports) wish.xdp = wish.xdp || port.kind == PortKind::AfXdp;
    for (const int node : assignment_.pool_nodes) {
        if (pools_.contains(node)) continue;
        wish.name = fmt::format("packets-{}", node);
        wish.node = node;
        auto pool = PacketPool::create(wish, error);
        if (pool == nullptr) return false;
        pools_.emplace(node, std::move(pool));
    }
    return true;
}

void PortSet::report(southbound::State* state) const {
    for (const auto& [node, pool] : pools_) {
        if (state->memories >= southbound::kMaxMemories) return;
        southbound::Memory& memory = state->memory[state->memories++];
        memory = {};
        const std::string name = pools_.size() == 1 ? "buffers" : fmt::format("buffers.{}", node);
        name.copy(memory.name.data(), memory.name.size() - 1);
        memory.rows = pool->in_use();
        memory.capacity_rows = pool->buffers();
        memory.bytes = memory.rows * pool->buffer_bytes();
        memory.capacity_bytes = memory.capacity_rows * pool->buffer_bytes();
    }
}

bool PortSet::open(const PortConfig& config, const Config& all, Opened* opened,
                   std::string* error) {
    Port& port = opened->port;
    port.name = config.name;
    port.kind = config.kind;
    port.gated = config.gated;
    port.has_kernel = config.has_kernel_interface();
    port.mtu = config.mtu.value_or(1500);
    if (is_kernels(config.kind) && !kernel_mtu(config, &port.mtu, error)) return false;
    // Done before the port works. The mirror does it again for interfaces that appear later, and
    // reports errors.
    std::string unsaid;
    if (is_kernels(config.kind)) (void)ignore_advertisements(config.interface, &unsaid);
    if (config.kind == PortKind::AfXdp) {
        if (!serves_all_queues(config.interface, config.queues, error)) return false;
        if (data_room_ > kMaxXdpDataRoom) {
            *error = fmt::format(
                "AF_XDP needs packet buffers that fit a memory page, and those of "
                "all ports are made for the largest MTU: at most {} on every port",
                kMaxXdpMtu);
            return false;
        }
        if (!xdp_object_ && !(xdp_object_ = XdpObjectFile::create(error))) return false;
    }
    const auto number = static_cast<unsigned>(opened_++);
    opened->device = Device::open(config, number, all.workers,
                                  xdp_object_ ? xdp_object_->path() : std::string(), error);
    if (opened->device == nullptr) return false;
    const Device& device = *opened->device;
    port.ethdev = device.id();
    port.mac = device.mac();
    if (config.kind == PortKind::Tap) port.mac = other_mac(port.mac);
    if (config.mac) port.mac = *config.mac;
    if (config.kind == PortKind::AfXdp) port.other_macs = macs_above(config.interface);
    return config.kind != PortKind::Pci || !config.mac || device.set_mac(*config.mac, error);
}

bool PortSet::enough_buffers(const Config& config, int node, std::string* error) const {
    const unsigned needed = buffers_.at(node) + (config.workers + 1) * 2 * kPoolCache;
    const unsigned withheld = pools_.at(node)->withheld();
    if (needed + withheld <= config.mbufs) return true;
    *error = fmt::format(
        "mbufs: {} are too few: the queues of the ports up to this one and the "
        "workers may hold {}",
        config.mbufs, needed + withheld);
    return false;
}

bool PortSet::bring_up(const PortConfig& config, const Config& all, std::uint16_t number,
                       Opened& opened, std::string* error) {
    Port& port = opened.port;
    const int node = assignment_.pool_nodes[number];
    const bool exception = config.kind == PortKind::Pci && port.has_kernel;
    DeviceWish wish;
    wish.rx_queues = rx_queues_of(config, all.workers);
    wish.tx_queues = static_cast<std::uint16_t>(all.workers);
    if (exception) ++wish.tx_queues;  // the writer's
    // The kernel's AF_XDP and packet sockets and its TAPs come as pairs of queues.
    if (is_kernels(config.kind) || config.kind == PortKind::Tap)
        wish.tx_queues = std::max(wish.tx_queues, wish.rx_queues);
    wish.mtu = config.kind == PortKind::Pci ? port.mtu : std::uint16_t{0};
    wish.data_room = data_room_;
    wish.one_pool = assignment_.one_pool;
    wishes_.push_back(wish);
    DevicePlan plan;
    if (!opened.device->plan(wish, &plan, error)) return false;
    buffers_[node] += opened.device->buffers(plan);
    if (!enough_buffers(all, node, error)) return false;
    if (config.vlan_stripping) steering_.ignore_vlans(config.interface);
    // Done this late because there is no steering program from here until the driver attaches its
    // own.
    if (config.kind == PortKind::AfXdp && !steering_.take_over(config.interface, error))
        return false;
    devices_.push_back(std::move(opened.device));
    Device& device = *devices_.back();
    if (!device.configure(&plan, node, pool_of(number), &port, error)) return false;
    if (config.kind == PortKind::AfXdp) {
        if (!steering_.add_interface(config.interface, error)) return false;
        steered_.push_back(config.interface);
    }
    if (exception) device.receive_multicast();
    if (!device.start(error)) return false;
    choices_.push_back(fmt::format("port {} ({}, NUMA node {}): {}{}", port.name,
                                   to_string(port.kind), node, describe(plan, wish),
                                   device.refuse_pause_frames() ? "" : "; pause frames are on") +
                       veth_note(config));
    if (exception && !open_exception(config, number, &port, error)) return false;
    ports_.push_back(port);
    return true;
}

bool PortSet::open_exception(const PortConfig& config, std::uint16_t number, Port* port,
                             std::string* error) {
    auto tap = Device::open_tap(config.interface, number, port->mac, error);
    if (tap == nullptr) return false;
    port->exception = tap->id();
    taps_.push_back(std::move(tap));
    Device& device = *taps_.back();
    DeviceWish wish;
    wish.data_room = data_room_;
    DevicePlan plan;
    Port ignored;
    return device.plan(wish, &plan, error) &&
           device.configure(&plan, assignment_.pool_nodes[number], pool_of(number), &ignored,
                            error) &&
           device.start(error);
}

PortSet::~PortSet() {
    devices_.clear();
    taps_.clear();
    // The driver detaches on close; this is for a start that failed half-way.
    for (const std::string& interface : steered_) xdp_detach(interface);
}

}  // namespace dr

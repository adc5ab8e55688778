// Creates, configures, starts and closes a DPDK device.
#include "dataplane/ports/device.h"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "process/paths.h"
#include "process/unix_socket.h"

namespace dr {

namespace {

std::string to_string(const wire::Mac& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

// The text of an error number of DPDK.
std::string reason(int result) {
    return rte_strerror(result < 0 ? -result : result);
}

std::string af_packet_arguments(const PortConfig& config, unsigned queues) {
    // A ring frame holds the kernel's header too; a block must hold whole frames.
    const unsigned frame = config.mtu.value_or(1500) > 1900 ? 16'384 : 2'048;
    const unsigned frames = frame == 2'048 ? 4'096 : 1'024;
    return fmt::format("iface={},qpairs={},framesz={},blocksz={},framecnt={}", config.interface,
                       queues, frame, std::max(frame, 4'096U), frames);
}

// A file has one writer: with several workers, each further one writes to FILE.1, FILE.2, ...
std::string pcap_arguments(const PortConfig& config, unsigned workers) {
    std::string arguments;
    for (const std::string& file : config.rx) arguments += "rx_pcap=" + file + ",";
    for (unsigned w = 0; w < workers && !config.tx.empty(); ++w)
        arguments += w == 0 ? fmt::format("tx_pcap={},", config.tx)
                            : fmt::format("tx_pcap={}.{},", config.tx, w);
    if (config.infinite) arguments += "infinite_rx=1,";
    arguments.pop_back();
    return arguments;
}

// Drivers create these files by path, as root, so no other user may be able to change where the
// path leads.
bool is_own(const std::string& path, std::string* error) {
    const std::string why = process::who_else_may_change(process::directory_of(path), geteuid());
    if (!why.empty()) *error = fmt::format("{}: {}", path, why);
    return why.empty();
}

// A process that was killed leaves its socket behind, and the driver does not bind over one.
bool clear_memif_socket(const std::string& path, std::string* error) {
    if (!is_own(path, error)) return false;
    std::string why;
    if (process::remove_dead_socket(path, SOCK_SEQPACKET, &why)) return true;
    *error = fmt::format("socket {}: {}", path, why);
    return false;
}

const char* driver_of(PortKind kind) {
    switch (kind) {
        case PortKind::AfXdp:
            return "net_af_xdp";
        case PortKind::AfPacket:
            return "net_af_packet";
        case PortKind::Pcap:
            return "net_pcap";
        case PortKind::Null:
            return "net_null";
        case PortKind::Ring:
            return "net_ring";
        case PortKind::Tap:
            return "net_tap";
        case PortKind::Memif:
            return "net_memif";
        case PortKind::Pci:
            break;
    }
    return "";
}

std::string arguments_of(const PortConfig& config, unsigned queues, const std::string& xdp,
                         unsigned workers) {
    switch (config.kind) {
        case PortKind::AfXdp:
            // No busy polling: the kernel's own interrupt keeps a sleeping worker's ring filled.
            return fmt::format("iface={},start_queue=0,queue_count={},xdp_prog={},busy_budget=0",
                               config.interface, queues, xdp);
        case PortKind::AfPacket:
            return af_packet_arguments(config, queues);
        case PortKind::Pcap:
            return pcap_arguments(config, workers);
        case PortKind::Null:
            if (config.packet_size == 0) return "no-rx=1";
            return fmt::format("size={},copy=0", config.packet_size);
        case PortKind::Tap:
            return "iface=" + config.interface;
        case PortKind::Memif:
            return fmt::format("role=server,id=0,socket-abstract=no,socket={}", config.memif);
        case PortKind::Ring:
        case PortKind::Pci:
            break;
    }
    return "";
}

}  // namespace

std::uint16_t rx_queues_of(const PortConfig& config, unsigned workers) {
    switch (config.kind) {
        case PortKind::Pcap:
            return static_cast<std::uint16_t>(std::max<std::size_t>(config.rx.size(), 1));
        case PortKind::AfPacket:
        case PortKind::Tap:
            // Queues come in pairs.
            return static_cast<std::uint16_t>(std::max<unsigned>(config.queues, workers));
        default:
            return config.queues;
    }
}

std::unique_ptr<Device> Device::open(const PortConfig& config, unsigned number, unsigned workers,
                                     const std::string& xdp_object, std::string* error) {
    const bool kernel = config.kind == PortKind::AfXdp || config.kind == PortKind::AfPacket;
    if (kernel && if_nametoindex(config.interface.c_str()) == 0) {
        *error = fmt::format("there is no network interface {}", config.interface);
        return nullptr;
    }
    const bool pci = config.kind == PortKind::Pci;
    if (config.kind == PortKind::Memif && !clear_memif_socket(config.memif, error)) return nullptr;
    if (config.kind == PortKind::Pcap && !config.tx.empty() && !is_own(config.tx, error))
        return nullptr;
    std::unique_ptr<Device> device(new Device(
        config.kind, pci ? config.device : driver_of(config.kind) + std::to_string(number)));
    if (!device->appear(arguments_of(config, rx_queues_of(config, workers), xdp_object, workers),
                        error))
        return nullptr;
    return device;
}

std::unique_ptr<Device> Device::open_tap(const std::string& interface, unsigned number,
                                         const wire::Mac& mac, std::string* error) {
    std::unique_ptr<Device> device(
        new Device(PortKind::Tap, "net_tap" + std::to_string(kMaxPorts + number)));
    const std::string arguments = fmt::format("iface={},mac={}", interface, to_string(mac));
    if (!device->appear(arguments, error)) return nullptr;
    return device;
}

bool Device::appear(const std::string& arguments, std::string* error) {
    if (kind_ != PortKind::Pci) {
        const int result = rte_eal_hotplug_add("vdev", name_.c_str(), arguments.c_str());
        if (result != 0) {
            *error =
                fmt::format("the driver refuses it: {} ({}: {})", reason(result), name_, arguments);
            return false;
        }
        appeared_ = true;
    }
    if (rte_eth_dev_get_port_by_name(name_.c_str(), &id_) == 0) return true;
    id_ = Port::kNoPort;
    *error = kind_ == PortKind::Pci
                 ? fmt::format(
                       "no DPDK driver has taken PCI device {}: is it there (lspci), and "
                       "bound to vfio-pci (dpdk-devbind.py --status)?",
                       name_)
                 : fmt::format("{} did not appear", name_);
    return false;
}

Device::~Device() {
    rings_.clear();
    if (id_ != Port::kNoPort) {
        if (started_) rte_eth_dev_stop(id_);
        rte_eth_dev_close(id_);
    }
    if (kind_ == PortKind::AfXdp && appeared_) rte_eal_hotplug_remove("vdev", name_.c_str());
}

int Device::socket() const {
    return rte_eth_dev_socket_id(id_);
}

wire::Mac Device::mac() const {
    rte_ether_addr address{};
    wire::Mac mac{};
    if (rte_eth_macaddr_get(id_, &address) == 0)
        std::memcpy(mac.data(), address.addr_bytes, mac.size());
    return mac;
}

bool Device::set_mac(const wire::Mac& mac, std::string* error) const {
    rte_ether_addr address{};
    std::memcpy(address.addr_bytes, mac.data(), mac.size());
    const int result = rte_eth_dev_default_mac_addr_set(id_, &address);
    if (result != 0) *error = "the device takes no other MAC address: " + reason(result);
    return result == 0;
}

void Device::receive_multicast() const {
    // A device without the function receives either everything or nothing more; neither is an
    // error.
    (void)rte_eth_allmulticast_enable(id_);
}

std::uint16_t Device::max_rx_queues() const {
    rte_eth_dev_info info{};
    return rte_eth_dev_info_get(id_, &info) == 0 ? info.max_rx_queues : std::uint16_t{0};
}

unsigned Device::buffers(const DevicePlan& plan) const {
    const unsigned rx = plan.rx_queues;
    const unsigned tx = plan.tx_queues;
    switch (kind_) {
        case PortKind::AfXdp:
            // The driver fills its ring twice over, and completes transmissions late.
            return rx * 3U * 2'048U;
        case PortKind::Pci:
            return rx * plan.rx_descriptors + tx * plan.tx_descriptors;
        default:
            return (rx + tx) * 128U;
    }
}

bool Device::plan(const DeviceWish& wish, DevicePlan* plan, std::string* error) const {
    rte_eth_dev_info info{};
    const int result = rte_eth_dev_info_get(id_, &info);
    if (result == 0) return plan_device(info, wish, plan, error);
    *error = "the device does not say what it can do: " + reason(result);
    return false;
}

// Each queue of AF_XDP creates a socket; the new descriptor is that socket.
int Device::set_up_rx(std::uint16_t queue, const DevicePlan& plan, unsigned node,
                      rte_mempool* pool) {
    const bool xdp = kind_ == PortKind::AfXdp;
    const std::vector<int> before = xdp ? xdp_sockets() : std::vector<int>{};
    const int result = rte_eth_rx_queue_setup(id_, queue, plan.rx_descriptors, node, nullptr, pool);
    if (!xdp || result != 0) return result;
    const std::vector<int> now = xdp_sockets();
    std::vector<int> made;
    std::set_difference(now.begin(), now.end(), before.begin(), before.end(),
                        std::back_inserter(made));
    std::string ignored;
    if (made.size() == 1) rings_.push_back(XskRings::map(made.front(), &ignored));
    return 0;
}

bool Device::configure(DevicePlan* plan, int node, rte_mempool* pool, Port* port,
                       std::string* error) {
    int result = rte_eth_dev_configure(id_, plan->rx_queues, plan->tx_queues, &plan->conf);
    // Some drivers announce levels but accept none; then outer addresses are used.
    if (result == -EINVAL && without_rss_level(plan))
        result = rte_eth_dev_configure(id_, plan->rx_queues, plan->tx_queues, &plan->conf);
    const auto memory = static_cast<unsigned>(node);
    for (std::uint16_t q = 0; q < plan->tx_queues && result == 0; ++q)
        result = rte_eth_tx_queue_setup(id_, q, plan->tx_descriptors, memory, nullptr);
    for (std::uint16_t q = 0; q < plan->rx_queues && result == 0; ++q)
        result = set_up_rx(q, *plan, memory, pool);
    if (result != 0) {
        *error = "the device cannot be configured: " + reason(result);
        return false;
    }
    // Rings of only some queues would mislead, so either all are found or none is used.
    const bool all = rings_.size() == plan->rx_queues &&
                     std::none_of(rings_.begin(), rings_.end(),
                                  [](const auto& rings) { return rings == nullptr; });
    if (!all) rings_.clear();
    port->rx_queues = plan->rx_queues;
    port->tx_queues = plan->tx_queues;
    port->rx_checksum_ipv4 = plan->rx(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM);
    port->rx_checksum_udp = plan->rx(RTE_ETH_RX_OFFLOAD_UDP_CKSUM);
    return true;
}

bool Device::refuse_pause_frames() const {
    rte_eth_fc_conf conf{};
    if (rte_eth_dev_flow_ctrl_get(id_, &conf) != 0) return true;  // it knows none
    if (conf.mode == RTE_ETH_FC_NONE) return true;
    conf.mode = RTE_ETH_FC_NONE;
    return rte_eth_dev_flow_ctrl_set(id_, &conf) == 0;
}

bool Device::start(std::string* error) {
    const int result = rte_eth_dev_start(id_);
    started_ = result == 0;
    if (!started_) *error = "the device does not start: " + reason(result);
    return started_;
}

}  // namespace dr

#include "dataplane/ports/device.h"

#include <fmt/format.h>
#include <net/if.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_mempool.h>

#include <algorithm>
#include <cstring>

namespace dr {

namespace {

constexpr std::uint16_t kDescriptors = 1024;

std::string to_string(const wire::Mac& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

// What an error number of DPDK's says.
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

std::string pcap_arguments(const PortConfig& config) {
    std::string arguments;
    for (const std::string& file : config.rx) arguments += "rx_pcap=" + file + ",";
    if (!config.tx.empty()) arguments += "tx_pcap=" + config.tx + ",";
    if (config.infinite) arguments += "infinite_rx=1,";
    arguments.pop_back();
    return arguments;
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
        case PortKind::Pci:
            break;
    }
    return "";
}

std::string arguments_of(const PortConfig& config, unsigned queues, const std::string& xdp) {
    switch (config.kind) {
        case PortKind::AfXdp:
            // No busy polling: the kernel's own interrupt keeps a sleeping worker's ring filled.
            return fmt::format("iface={},start_queue=0,queue_count={},xdp_prog={},busy_budget=0",
                               config.interface, queues, xdp);
        case PortKind::AfPacket:
            return af_packet_arguments(config, queues);
        case PortKind::Pcap:
            return pcap_arguments(config);
        case PortKind::Null:
            if (config.packet_size == 0) return "no-rx=1";
            return fmt::format("size={},copy=0", config.packet_size);
        case PortKind::Tap:
            return "iface=" + config.interface;
        case PortKind::Ring:
        case PortKind::Pci:
            break;
    }
    return "";
}

// Receive-side scaling by the innermost addresses where the NIC can: one tunnel is one outer flow.
std::uint64_t rss_of(const rte_eth_dev_info& info) {
    constexpr std::uint64_t kWanted = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
    std::uint64_t rss = kWanted & info.flow_type_rss_offloads;
    if ((info.flow_type_rss_offloads & RTE_ETH_RSS_LEVEL_MASK) != 0)
        rss |= RTE_ETH_RSS_LEVEL_INNERMOST;
    return rss;
}

std::uint16_t fit(std::uint16_t wanted, const rte_eth_desc_lim& limits) {
    return std::clamp(wanted, std::max<std::uint16_t>(limits.nb_min, 1),
                      std::max<std::uint16_t>(limits.nb_max, 1));
}

}  // namespace

std::uint16_t rx_queues_of(const PortConfig& config, unsigned workers) {
    switch (config.kind) {
        case PortKind::Pcap:
            return static_cast<std::uint16_t>(std::max<std::size_t>(config.rx.size(), 1));
        case PortKind::AfPacket:
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
    std::unique_ptr<Device> device(new Device(
        config.kind, pci ? config.device : driver_of(config.kind) + std::to_string(number)));
    if (!device->appear(arguments_of(config, rx_queues_of(config, workers), xdp_object), error))
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
    if (id_ == Port::kNoPort) return;
    if (started_) rte_eth_dev_stop(id_);
    rte_eth_dev_close(id_);
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
    // Where the device cannot, it receives everything or nothing more; neither is an error.
    (void)rte_eth_allmulticast_enable(id_);
}

unsigned Device::buffers(std::uint16_t rx_queues, std::uint16_t tx_queues) const {
    switch (kind_) {
        case PortKind::AfXdp:
            // The driver fills its ring twice over, and completes transmissions late.
            return rx_queues * 3U * 2'048U;
        case PortKind::Pci:
            return static_cast<unsigned>(rx_queues + tx_queues) * kDescriptors;
        default:
            return static_cast<unsigned>(rx_queues + tx_queues) * 128U;
    }
}

bool Device::configure(std::uint16_t rx_queues, std::uint16_t tx_queues, std::uint16_t mtu,
                       rte_mempool* pool, Port* port, std::string* error) {
    rte_eth_dev_info info{};
    int result = rte_eth_dev_info_get(id_, &info);
    if (result == 0 && (rx_queues > info.max_rx_queues || tx_queues > info.max_tx_queues)) {
        *error = fmt::format(
            "the device has {} receive and {} transmit queues; {} and {} are "
            "needed (each worker transmits on its own): configure fewer workers, "
            "fewer queues, or another kind of port",
            info.max_rx_queues, info.max_tx_queues, rx_queues, tx_queues);
        return false;
    }
    rte_eth_conf conf{};
    if (kind_ == PortKind::Pci) {
        conf.rxmode.mtu = mtu;
        conf.rxmode.offloads = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM & info.rx_offload_capa;
        conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM & info.tx_offload_capa;
        const std::uint64_t rss = rss_of(info);
        if (rx_queues > 1 && rss != 0) {
            conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = rss;
        }
    }
    if (result == 0) result = rte_eth_dev_configure(id_, rx_queues, tx_queues, &conf);
    if (result == -EINVAL && (conf.rx_adv_conf.rss_conf.rss_hf & RTE_ETH_RSS_LEVEL_MASK) != 0) {
        // Some drivers announce levels and take none; the outer addresses are better than nothing.
        conf.rx_adv_conf.rss_conf.rss_hf &= ~RTE_ETH_RSS_LEVEL_MASK;
        result = rte_eth_dev_configure(id_, rx_queues, tx_queues, &conf);
    }
    const auto node = static_cast<unsigned>(std::max(socket(), 0));
    const std::uint16_t rx = fit(kDescriptors, info.rx_desc_lim);
    const std::uint16_t tx = fit(kDescriptors, info.tx_desc_lim);
    for (std::uint16_t q = 0; q < tx_queues && result == 0; ++q)
        result = rte_eth_tx_queue_setup(id_, q, tx, node, nullptr);
    for (std::uint16_t q = 0; q < rx_queues && result == 0; ++q)
        result = rte_eth_rx_queue_setup(id_, q, rx, node, nullptr, pool);
    if (result != 0) {
        *error = "the device cannot be configured: " + reason(result);
        return false;
    }
    port->rx_queues = rx_queues;
    port->tx_queues = tx_queues;
    port->rx_checksum_ipv4 = (conf.rxmode.offloads & RTE_ETH_RX_OFFLOAD_IPV4_CKSUM) != 0;
    port->tx_checksum_ipv4 = (conf.txmode.offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM) != 0;
    return true;
}

bool Device::start(std::string* error) {
    const int result = rte_eth_dev_start(id_);
    started_ = result == 0;
    if (!started_) *error = "the device does not start: " + reason(result);
    return started_;
}

}  // namespace dr

// Chooses queues, offloads and spreading from a device's capabilities.
#include "dataplane/ports/device_plan.h"

#include <fmt/format.h>
#include <rte_ether.h>
#include <rte_mbuf_core.h>

#include <algorithm>
#include <utility>

namespace dr {

namespace {

// Descriptors: enough for the gaps in a polling thread; more would only move packets out of the L2.
constexpr std::uint16_t kDescriptors = 1024;
// Ethernet, two VLAN tags and the checksum, as drivers count a frame.
constexpr std::uint32_t kFrameOverhead = RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN + RTE_ETHER_CRC_LEN;
// Drivers round a buffer's room down to what their hardware can express, 1 KiB at most.
constexpr std::uint32_t kRoomGrain = 1024;

// Always hash addresses, and ports too, because in GRE-in-UDP the UDP source port carries the flow
// (RFC 8086 §3.2). Fragments and GRE are hashed by their addresses.
constexpr std::uint64_t kHash = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;

std::uint16_t fit(std::uint16_t wanted, const rte_eth_desc_lim& limits) {
    const std::uint32_t most = limits.nb_max == 0 ? UINT16_MAX : limits.nb_max;
    const std::uint32_t least = std::clamp<std::uint32_t>(limits.nb_min, 1, most);
    const std::uint32_t grain = std::max<std::uint32_t>(limits.nb_align, 1);
    std::uint32_t count = std::clamp<std::uint32_t>(wanted, least, most);
    count = (count + grain - 1) / grain * grain;
    if (count > most) count = most / grain * grain;
    return static_cast<std::uint16_t>(count);
}

void plan_rss(const rte_eth_dev_info& info, DevicePlan* plan) {
    if (plan->rx_queues == 1) return;
    std::uint64_t hash = kHash & info.flow_type_rss_offloads;
    plan->rss = hash == 0 ? Rss::None : Rss::Outer;
    if (hash == 0) return;
    // A level is a number in two bits: "innermost" is offered only where its own bit is.
    if ((info.flow_type_rss_offloads & RTE_ETH_RSS_LEVEL_INNERMOST) != 0) {
        hash |= RTE_ETH_RSS_LEVEL_INNERMOST;
        plan->rss = Rss::Inner;
    }
    plan->conf.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
    plan->conf.rx_adv_conf.rss_conf.rss_hf = hash;
}

void plan_offloads(const rte_eth_dev_info& info, const DeviceWish& wish, DevicePlan* plan) {
    plan->conf.rxmode.offloads =
        (RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM) & info.rx_offload_capa;
    // A frame that could exceed one buffer, as the driver counts it, comes in pieces, which the
    // worker joins: buffers have room for the whole frame.
    const std::uint32_t room =
        wish.data_room > RTE_PKTMBUF_HEADROOM ? wish.data_room - RTE_PKTMBUF_HEADROOM : 0U;
    if (wish.mtu + kFrameOverhead > room / kRoomGrain * kRoomGrain)
        plan->conf.rxmode.offloads |= RTE_ETH_RX_OFFLOAD_SCATTER & info.rx_offload_capa;
    if (wish.one_pool)
        plan->conf.txmode.offloads = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE & info.tx_offload_capa;
}

std::string hash_names(std::uint64_t hash) {
    std::string names = "addresses";
    if ((hash & RTE_ETH_RSS_TCP) != 0) names += ", TCP";
    if ((hash & RTE_ETH_RSS_UDP) != 0) names += ", UDP";
    return names;
}

}  // namespace

bool plan_device(const rte_eth_dev_info& info, const DeviceWish& wish, DevicePlan* plan,
                 std::string* error) {
    *plan = {};
    if (wish.tx_queues > info.max_tx_queues || info.max_rx_queues == 0) {
        *error = fmt::format(
            "the device has {} receive and {} transmit queues; 1 and {} are needed at least (each "
            "worker transmits on its own): configure fewer workers, or another kind of port",
            info.max_rx_queues, info.max_tx_queues, wish.tx_queues);
        return false;
    }
    if (wish.mtu != 0 && info.max_mtu != 0 && wish.mtu > info.max_mtu) {
        *error =
            fmt::format("the device carries an MTU of {} at most, not {}", info.max_mtu, wish.mtu);
        return false;
    }
    plan->rx_queues = std::min(wish.rx_queues, info.max_rx_queues);
    plan->tx_queues = wish.tx_queues;
    plan->rx_descriptors = fit(kDescriptors, info.rx_desc_lim);
    plan->tx_descriptors = fit(kDescriptors, info.tx_desc_lim);
    plan->conf.rxmode.mtu = wish.mtu;
    plan_rss(info, plan);
    plan_offloads(info, wish, plan);
    return true;
}

bool without_rss_level(DevicePlan* plan) {
    std::uint64_t& hash = plan->conf.rx_adv_conf.rss_conf.rss_hf;
    if ((hash & RTE_ETH_RSS_LEVEL_MASK) == 0) return false;
    hash &= ~RTE_ETH_RSS_LEVEL_MASK;
    plan->rss = Rss::Outer;
    return true;
}

std::string describe(const DevicePlan& plan, const DeviceWish& wish) {
    std::string text = fmt::format("{} receive queues of {}", plan.rx_queues, plan.rx_descriptors);
    if (plan.rx_queues < wish.rx_queues)
        text += fmt::format(" (the device has no more; {} were asked for)", wish.rx_queues);
    text += fmt::format(", {} transmit queues of {}", plan.tx_queues, plan.tx_descriptors);
    const std::string hash = hash_names(plan.conf.rx_adv_conf.rss_conf.rss_hf);
    switch (plan.rss) {
        case Rss::NotNeeded:
            break;
        case Rss::None:
            text += ", no receive-side scaling offered";
            break;
        case Rss::Outer:
            text += ", spread by the outer header (" + hash + ")";
            break;
        case Rss::Inner:
            text += ", spread by the inner header (" + hash + ")";
            break;
    }
    std::string offloads;
    for (const auto& [on, name] :
         {std::pair{plan.rx(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM), "IPv4 checksum"},
          std::pair{plan.rx(RTE_ETH_RX_OFFLOAD_UDP_CKSUM), "UDP checksum"},
          std::pair{plan.rx(RTE_ETH_RX_OFFLOAD_SCATTER), "scatter"},
          std::pair{plan.tx(RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE), "fast free"}})
        if (on) offloads += (offloads.empty() ? "" : ", ") + std::string(name);
    return text + "; offloads: " + (offloads.empty() ? "none" : offloads);
}

}  // namespace dr

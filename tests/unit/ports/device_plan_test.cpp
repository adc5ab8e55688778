// What is asked of devices: of hardware that is only described, and of software ports that are
// there.
#include "dataplane/ports/device_plan.h"

#include <rte_dev.h>
#include <rte_mbuf.h>

#include <catch2/catch.hpp>

#include "dataplane/ports/rx_checksum.h"
#include "tests/support/pipeline.h"

using namespace dr;

namespace {

constexpr std::uint64_t kLevels = RTE_ETH_RSS_LEVEL_MASK;

rte_eth_dev_info nic() {
    rte_eth_dev_info info{};
    info.max_rx_queues = info.max_tx_queues = 16;
    info.max_mtu = 9702;
    info.rx_desc_lim = {4096, 32, 32, 0, 0};
    info.tx_desc_lim = {4096, 32, 32, 0, 0};
    return info;
}

DeviceWish wish(std::uint16_t queues) {
    DeviceWish w;
    w.rx_queues = w.tx_queues = queues;
    w.mtu = 1500;
    w.data_room = 2176;
    return w;
}

DevicePlan planned(const rte_eth_dev_info& info, const DeviceWish& w) {
    DevicePlan plan;
    std::string error;
    REQUIRE(plan_device(info, w, &plan, &error));
    return plan;
}

}  // namespace

TEST_CASE("a device that offers the innermost level hashes inner headers") {
    rte_eth_dev_info info = nic();
    info.flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | kLevels;
    const DevicePlan plan = planned(info, wish(4));
    const std::uint64_t hash = plan.conf.rx_adv_conf.rss_conf.rss_hf;
    CHECK(plan.rss == Rss::Inner);
    CHECK(plan.conf.rxmode.mq_mode == RTE_ETH_MQ_RX_RSS);
    CHECK((hash & kLevels) == RTE_ETH_RSS_LEVEL_INNERMOST);
    CHECK((hash & ~kLevels) == (RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP));
    CHECK(describe(plan, wish(4)).find("spread by the inner header (addresses, UDP)") !=
          std::string::npos);
}

TEST_CASE("without levels, or with the outermost only, outer addresses and ports are hashed") {
    rte_eth_dev_info info = nic();
    info.flow_type_rss_offloads = RTE_ETH_RSS_IP | RTE_ETH_RSS_UDP | RTE_ETH_RSS_TCP;
    CHECK(planned(info, wish(4)).rss == Rss::Outer);
    CHECK(planned(info, wish(4)).conf.rx_adv_conf.rss_conf.rss_hf == info.flow_type_rss_offloads);
    info.flow_type_rss_offloads |= RTE_ETH_RSS_LEVEL_OUTERMOST;
    CHECK(planned(info, wish(4)).rss == Rss::Outer);
    CHECK((planned(info, wish(4)).conf.rx_adv_conf.rss_conf.rss_hf & kLevels) == 0);
}

TEST_CASE("nothing is asked for that any device does not offer") {
    for (unsigned bit = 0; bit < 64; ++bit) {
        rte_eth_dev_info info = nic();
        info.flow_type_rss_offloads = std::uint64_t{1} << bit;
        info.rx_offload_capa = std::uint64_t{1} << bit;
        info.tx_offload_capa = std::uint64_t{1} << bit;
        DeviceWish w = wish(4);
        w.one_pool = true;
        w.mtu = 9000;
        const DevicePlan plan = planned(info, w);
        CAPTURE(bit);
        CHECK((plan.conf.rx_adv_conf.rss_conf.rss_hf & ~info.flow_type_rss_offloads) == 0);
        CHECK((plan.conf.rxmode.offloads & ~info.rx_offload_capa) == 0);
        CHECK((plan.conf.txmode.offloads & ~info.tx_offload_capa) == 0);
    }
}

TEST_CASE("a device without receive-side scaling is told so, and one queue needs none") {
    CHECK(planned(nic(), wish(2)).rss == Rss::None);
    CHECK(planned(nic(), wish(2)).conf.rxmode.mq_mode == RTE_ETH_MQ_RX_NONE);
    CHECK(describe(planned(nic(), wish(2)), wish(2)).find("no receive-side scaling") !=
          std::string::npos);
    rte_eth_dev_info info = nic();
    info.flow_type_rss_offloads = RTE_ETH_RSS_IP;
    CHECK(planned(info, wish(1)).rss == Rss::NotNeeded);
    CHECK(planned(info, wish(1)).conf.rxmode.mq_mode == RTE_ETH_MQ_RX_NONE);
}

TEST_CASE("a driver that refuses a level it announced gets the outer hash, once") {
    rte_eth_dev_info info = nic();
    info.flow_type_rss_offloads = RTE_ETH_RSS_IP | kLevels;
    DevicePlan plan = planned(info, wish(2));
    CHECK(without_rss_level(&plan));
    CHECK(plan.rss == Rss::Outer);
    CHECK(plan.conf.rx_adv_conf.rss_conf.rss_hf == RTE_ETH_RSS_IP);
    CHECK_FALSE(without_rss_level(&plan));
}

TEST_CASE("fewer receive queues are taken and told; too few transmit queues are an error") {
    rte_eth_dev_info info = nic();
    info.max_rx_queues = 2;
    const DevicePlan plan = planned(info, wish(4));
    CHECK(plan.rx_queues == 2);
    CHECK(plan.tx_queues == 4);
    CHECK(describe(plan, wish(4)).find("(the device has no more; 4 were asked for)") !=
          std::string::npos);
    info.max_tx_queues = 3;
    DevicePlan none;
    std::string error;
    CHECK_FALSE(plan_device(info, wish(4), &none, &error));
    CHECK(error.find("2 receive and 3 transmit queues; 1 and 4 are needed") != std::string::npos);
}

TEST_CASE("descriptors keep to the device's limits and its grain") {
    rte_eth_dev_info info = nic();
    CHECK(planned(info, wish(1)).rx_descriptors == 1024);
    info.rx_desc_lim = {512, 64, 32, 0, 0};
    info.tx_desc_lim = {4096, 2048, 32, 0, 0};
    CHECK(planned(info, wish(1)).rx_descriptors == 512);
    CHECK(planned(info, wish(1)).tx_descriptors == 2048);
    info.rx_desc_lim = {1000, 1, 48, 0, 0};
    info.tx_desc_lim = {0, 0, 0, 0, 0};  // no limit is known
    CHECK(planned(info, wish(1)).rx_descriptors == 960);
    CHECK(planned(info, wish(1)).tx_descriptors == 1024);
}

TEST_CASE("an MTU beyond the device's is refused by its number") {
    DevicePlan plan;
    std::string error;
    rte_eth_dev_info info = nic();
    info.max_mtu = 1500;
    DeviceWish w = wish(1);
    w.mtu = 9000;
    CHECK_FALSE(plan_device(info, w, &plan, &error));
    CHECK(error == "the device carries an MTU of 1500 at most, not 9000");
}

TEST_CASE("frames come in pieces only where one may not fit a buffer as the driver counts it") {
    rte_eth_dev_info info = nic();
    info.rx_offload_capa = RTE_ETH_RX_OFFLOAD_SCATTER;
    CHECK_FALSE(planned(info, wish(1)).rx(RTE_ETH_RX_OFFLOAD_SCATTER));
    DeviceWish jumbo = wish(1);
    jumbo.mtu = 9000;
    jumbo.data_room = 128 + 9088;  // 8 whole KiB
    CHECK(planned(info, jumbo).rx(RTE_ETH_RX_OFFLOAD_SCATTER));
    jumbo.data_room = 128 + 9216;
    CHECK_FALSE(planned(info, jumbo).rx(RTE_ETH_RX_OFFLOAD_SCATTER));
}

TEST_CASE("buffers are freed fast only where all of a device's packets come out of one pool") {
    rte_eth_dev_info info = nic();
    info.tx_offload_capa = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE | RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
    DeviceWish w = wish(1);
    CHECK(planned(info, w).conf.txmode.offloads == 0);
    w.one_pool = true;
    CHECK(planned(info, w).conf.txmode.offloads == RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
}

TEST_CASE("a software device takes its plan: DPDK itself refuses what is not offered") {
    REQUIRE(test::start_eal());
    // The null driver announces a hash, so that this path is a configured one; the ring driver
    // none.
    for (const auto& [arguments, rss] :
         {std::pair{"net_null_plan", Rss::Outer}, std::pair{"net_ring_plan", Rss::None}}) {
        CAPTURE(arguments);
        REQUIRE(rte_eal_hotplug_add("vdev", arguments, "") == 0);
        std::uint16_t id = 0;
        REQUIRE(rte_eth_dev_get_port_by_name(arguments, &id) == 0);
        rte_eth_dev_info info{};
        REQUIRE(rte_eth_dev_info_get(id, &info) == 0);
        DeviceWish w = wish(1);
        w.mtu = 0;
        w.rx_queues = w.tx_queues = std::min<std::uint16_t>(info.max_rx_queues, 4);
        w.one_pool = true;
        DevicePlan plan = planned(info, w);
        CHECK(rte_eth_dev_configure(id, plan.rx_queues, plan.tx_queues, &plan.conf) == 0);
        REQUIRE(w.rx_queues > 1);
        CHECK(plan.rss == rss);
        rte_eth_rss_conf got{};
        CHECK((rte_eth_dev_rss_hash_conf_get(id, &got) == 0) == (rss == Rss::Outer));
        CHECK(((got.rss_hf & RTE_ETH_RSS_IP) != 0) == (rss == Rss::Outer));
        rte_eal_hotplug_remove("vdev", arguments);
    }
}

TEST_CASE("a NIC's word on checksums counts for the outermost header, and not for a tunnel's") {
    rte_mbuf m{};
    Port port;
    port.rx_checksum_ipv4 = port.rx_checksum_udp = true;
    CHECK_FALSE(ipv4_checksum_known(port, m));
    CHECK_FALSE(udp_checksum_known(port, m));
    m.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    CHECK(ipv4_checksum_known(port, m));
    CHECK(udp_checksum_known(port, m));
    m.packet_type = RTE_PTYPE_TUNNEL_GRE;
    CHECK_FALSE(ipv4_checksum_known(port, m));
    CHECK_FALSE(udp_checksum_known(port, m));
    m.packet_type = 0;
    m.ol_flags |= RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
    CHECK_FALSE(ipv4_checksum_known(port, m));
    m.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_BAD | RTE_MBUF_F_RX_L4_CKSUM_BAD;
    CHECK_FALSE(ipv4_checksum_known(port, m));
    CHECK_FALSE(udp_checksum_known(port, m));
    m.ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    CHECK_FALSE(ipv4_checksum_known(Port{}, m));
    CHECK_FALSE(udp_checksum_known(Port{}, m));
}

// A worker on two in-memory ports, with a few subscribers: what unit tests, the fuzzer and the
// instruction counts drive. Rows are filled in directly, so that this depends on nothing but the
// worker and the tables.
//
//   port 0 "net"   towards the Internet, 198.51.100.1/24, 2001:db8:fe::1/64, default route via .254
//   port 1 "isp"   towards the sites,    192.0.2.1/24,    2001:db8:ff::1/64
//   subscriber n (1-4): 203.0.113.(8n)/29, 2001:db8:5000:n00::/56; tunnels n*16 + k:
//     k 0 GRE over IPv4, 1 GRE-in-UDP over IPv4, 2 GRE over IPv6, 3 GRE-in-UDP over IPv6;
//     subscriber n sends everything through tunnel k = n - 1
#pragma once

#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include <memory>
#include <span>
#include <vector>

#include "dataplane/worker/exits.h"
#include "dataplane/worker/worker.h"

namespace dr::test {

inline constexpr unsigned kSubscribers = 4;
inline constexpr std::uint32_t kGeneration = 7;
using Bytes = std::vector<std::uint8_t>;

// Starts DPDK without huge pages, once a process. false: it could not.
bool start_eal();

class Pipeline final {
  public:
    // tx_size: of the rings that packets leave through, a power of two, one is left free;
    // punt_size: of the way to the kernel, 0: there is none.
    explicit Pipeline(unsigned tx_size = 4096, unsigned punt_size = 0);
    ~Pipeline();
    Pipeline(const Pipeline&) = delete;
    Pipeline& operator=(const Pipeline&) = delete;

    // Puts a frame into a port's receive queue; false: no buffer.
    bool send(unsigned port, std::span<const std::uint8_t> frame);
    // The same as a driver delivers it that scatters frames: the first buffer has `first` bytes.
    bool send_in_two(unsigned port, std::span<const std::uint8_t> frame, std::size_t first);
    // Runs the worker until its queues are empty; what left, by port, is appended to out().
    void run();
    [[nodiscard]] std::vector<Bytes>& out(unsigned port) { return out_[port]; }
    [[nodiscard]] std::uint64_t exit(Exit exit) const;
    [[nodiscard]] std::uint64_t exits() const;  // of all kinds
    [[nodiscard]] std::uint64_t received() const;
    // Buffers that are neither free nor in a queue: must be 0 between run()s.
    [[nodiscard]] unsigned missing_buffers() const;
    // Takes all free buffers; give them back before the next run() that needs any.
    [[nodiscard]] std::vector<rte_mbuf*> exhaust_buffers();
    [[nodiscard]] const southbound::TunnelCounters& tunnel_counters(TunnelId id) const {
        return tunnel_counters_[id.slot()];
    }
    // Exits of the kind drop.* that were taken, and of which no packet is noted.
    [[nodiscard]] std::vector<Exit> unnoted() const;
    // The latest packet that is noted of an exit. It must have one.
    [[nodiscard]] southbound::DropState noted(Exit exit) const;
    // How many were.
    [[nodiscard]] std::uint64_t notes(Exit exit) const;
    [[nodiscard]] const southbound::TunnelDrops& tunnel_drops(TunnelId id) const {
        return tunnel_drops_[id.slot()];
    }
    [[nodiscard]] Tables& tables() { return *tables_; }
    [[nodiscard]] Worker& worker() { return *worker_; }
    // A route discards what is sent to the subscriber's IPv4 prefix.
    void discard(unsigned subscriber);
    // As the watchdog does while it repairs a port.
    void pause(unsigned port, bool paused) { shared_.paused[port] = paused; }
    // Of the worker's loop.
    [[nodiscard]] std::uint64_t turns() const { return block_->worker.turns; }

    static constexpr wire::Mac kPeer{2, 0, 0, 0, 0, 0xfe};
    static wire::Mac mac(unsigned port) {
        return {2, 0, 0, 0, 0, static_cast<std::uint8_t>(port + 1)};
    }
    static TunnelId tunnel_id(unsigned subscriber, unsigned kind) {
        return TunnelId{kGeneration << 24 | (subscriber * 16 + kind)};
    }

  private:
    void make_ports(unsigned tx_size);
    void make_tables();
    void add_next_hops();
    void add_subscriber(unsigned n);
    void add_tunnel(unsigned subscriber, unsigned kind);
    void drain();

    std::unique_ptr<Tables> tables_;
    Ports ports_;
    WorkerShared shared_;
    rte_ring* punt_{};
    std::vector<rte_ring*> rx_, tx_;
    std::vector<southbound::TunnelCounters> tunnel_counters_;
    std::unique_ptr<southbound::DropSample[]> samples_;
    std::vector<southbound::TunnelDrops> tunnel_drops_;
    std::unique_ptr<southbound::WorkerBlock> block_;
    std::unique_ptr<Worker> worker_;
    std::array<std::vector<Bytes>, 2> out_;
};

// An IP packet of a subscriber's tunnel as the site sends it: outer header, GRE, the inner packet.
Bytes tunnel_frame(std::uint32_t id, unsigned kind, std::span<const std::uint8_t> remote,
                   std::span<const std::uint8_t> local, std::span<const std::uint8_t> inner);
Bytes tunnel_frame(unsigned subscriber, unsigned kind, std::span<const std::uint8_t> inner);
// A UDP packet with the given addresses (4 or 16 bytes each) and payload size.
Bytes udp_packet(std::span<const std::uint8_t> source, std::span<const std::uint8_t> destination,
                 std::size_t payload);
Bytes ethernet_frame(unsigned port, std::span<const std::uint8_t> packet);
Bytes site_address(unsigned subscriber, unsigned family);
Bytes outside_address(unsigned family);

}  // namespace dr::test

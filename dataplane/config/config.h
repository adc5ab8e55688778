// The configuration file of dr-dataplane: JSON, read once at start, every field validated.
//
// The keys have the names of the fields below ("idle": "sleep" or "poll" is sleep_when_idle). Any
// other key is an error, so that a misspelt one cannot be overlooked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "dataplane/config/port_kind.h"
#include "dataplane/tables/tables.h"

namespace dr {

struct RouteConfig {
    IpPrefix prefix;
    IpAddress via;  // same family; on a network of the port
};
struct NeighbourConfig {
    IpAddress address;
    wire::Mac mac{};
};

struct PortConfig {
    std::string name;  // 1-31 characters of [A-Za-z0-9_.-], unique
    PortKind kind{};
    // af_xdp, af_packet: the kernel's interface, which must exist. tap, and pci with a kernel
    // mirror: the interface that is made.
    std::string interface;
    std::string device;  // pci: "0000:03:00.0"
    std::string memif;   // memif: path of the socket, made here, at which the other end connects
    std::uint16_t queues = 1;
    // af_xdp: the device goes on taking VLAN tags out of frames, so that those of every VLAN count
    // as untagged. Otherwise it is told to leave them in.
    bool vlan_stripping = false;
    std::optional<std::uint16_t> mtu;  // bytes of IP packet; absent: the interface's, or 1500
    std::optional<wire::Mac> mac;      // absent: the device's
    std::vector<std::string> rx;       // pcap: a receive queue for each file
    std::string tx;         // pcap; worker n > 0 writes to a file of this name with ".n" after it
    bool infinite = false;  // pcap: start again at the end of the files
    bool gated = false;     // pcap: receive queue n waits for step n + 1 (AdvanceGate)
    std::uint16_t packet_size = 0;    // null: bytes of each received frame; absent: receives none
    std::vector<IpPrefix> addresses;  // host bits kept
    std::vector<RouteConfig> routes;
    std::vector<NeighbourConfig> neighbours;

    // Packets of other programs on this machine pass through the port's kernel interface.
    [[nodiscard]] bool has_kernel_interface() const {
        return kind == PortKind::AfXdp || kind == PortKind::AfPacket ||
               (kind == PortKind::Pci && !interface.empty());
    }
    // Addresses, routes and neighbours come from the kernel, not from this file.
    [[nodiscard]] bool mirrors_kernel() const {
        return has_kernel_interface() && addresses.empty();
    }
};

struct Config {
    std::string socket;
    // Group that owns the socket and whose members may use it; empty: the process's own.
    std::string socket_group;
    unsigned workers = 1;
    std::vector<unsigned> lcores;  // CPU numbers: main, then workers; empty: chosen at start
    bool sleep_when_idle = true;
    unsigned memory_mib = 256;  // DPDK's: packet buffers and queues, not the tables
    unsigned mbufs = 16'384;
    bool measure_stages = false;
    Capacity capacity;
    struct Liveness {
        unsigned threads = 1;
        // With keepalives, at most; memory for them is taken at start, about 1.5 KB each.
        std::uint32_t tunnels = 65'536;
    } liveness;
    std::vector<PortConfig> ports;
};

// Reads and validates. false: `errors` has one line for each thing that is wrong, each with its
// place as a JSON path ("ports[1].mtu: ...") and what would be right. `config` is then unspecified.
bool parse_config(std::string_view text, Config* config, std::vector<std::string>* errors);
bool load_config(const std::string& path, Config* config, std::vector<std::string>* errors);

// Bytes of one packet buffer's data, headroom included, that the largest MTU of all ports needs.
std::uint16_t mbuf_data_room(std::uint16_t largest_mtu);

const char* to_string(PortKind kind);  // as in the file: "af_xdp"

}  // namespace dr

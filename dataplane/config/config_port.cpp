#include "dataplane/config/config_port.h"

#include <fmt/format.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace dr {

using nlohmann::json;

namespace {

struct KindName {
    PortKind kind;
    const char* name;
};
constexpr std::array<KindName, 8> kKinds{{{PortKind::AfXdp, "af_xdp"},
                                          {PortKind::AfPacket, "af_packet"},
                                          {PortKind::Pcap, "pcap"},
                                          {PortKind::Null, "null"},
                                          {PortKind::Ring, "ring"},
                                          {PortKind::Tap, "tap"},
                                          {PortKind::Memif, "memif"},
                                          {PortKind::Pci, "pci"}}};
constexpr std::size_t kMaxSocketPath = 107;  // sun_path, without its zero
constexpr std::uint64_t kMinMtu = 1280;      // RFC 8200 §5
constexpr std::uint64_t kMaxMtu = 9600;
constexpr std::size_t kMaxPcapQueues = 16;  // of DPDK's net_pcap

unsigned bit(PortKind kind) {
    return 1U << static_cast<unsigned>(kind);
}

bool read_kind(ObjectReader& reader, PortConfig* port) {
    std::string text;
    reader.read("kind", &text);
    for (const KindName& k : kKinds) {
        if (text != k.name) continue;
        port->kind = k.kind;
        return true;
    }
    reader.fail("kind",
                fmt::format("must be one of af_xdp, af_packet, pcap, null, ring, tap, memif, "
                            "pci, not \"{}\"",
                            text));
    return false;
}

// A key that means nothing for the port's kind is an error: it would silently do nothing.
void only_for(ObjectReader& reader, const PortConfig& port, const char* key, unsigned kinds) {
    if (!reader.has(key) || (kinds & bit(port.kind)) != 0) return;
    std::string names;
    for (const KindName& k : kKinds)
        if ((kinds & bit(k.kind)) != 0) names += (names.empty() ? "" : ", ") + std::string(k.name);
    reader.fail(
        key, fmt::format("does not apply to kind {}; it is for {}", to_string(port.kind), names));
}

bool good_name(const std::string& name, std::size_t limit) {
    if (name.empty() || name.size() > limit || name == "." || name == "..") return false;
    return std::all_of(name.begin(), name.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
    });
}

bool good_pci_address(const std::string& text) {
    unsigned domain{};
    unsigned bus{};
    unsigned device{};
    unsigned function{};
    int end = 0;
    const int fields =
        std::sscanf(text.c_str(), "%4x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &end);
    return fields == 4 && end == static_cast<int>(text.size()) && device < 32 && function < 8;
}

void check_device(ObjectReader& reader, const PortConfig& port) {
    const bool kernel = port.kind == PortKind::AfXdp || port.kind == PortKind::AfPacket;
    if ((kernel || port.kind == PortKind::Tap) && port.interface.empty())
        reader.fail("interface", "is needed: the name of the network interface");
    if (!port.interface.empty() && !good_name(port.interface, IFNAMSIZ - 1))
        reader.fail("interface", fmt::format("\"{}\" is no interface name: 1 to 15 characters of "
                                             "letters, digits and _ . -",
                                             port.interface));
    if (port.kind == PortKind::Pci && !good_pci_address(port.device))
        reader.fail("device", fmt::format("must be a PCI address like \"0000:03:00.0\", not \"{}\"",
                                          port.device));
    const std::string& socket = port.memif;
    if (port.kind == PortKind::Memif &&
        (socket.empty() || socket[0] != '/' || socket.size() > kMaxSocketPath ||
         socket.find(',') != std::string::npos))
        reader.fail("memif", fmt::format("must be the absolute path of a socket, at most {} bytes "
                                         "and without a comma, not \"{}\"",
                                         kMaxSocketPath, socket));
}

void check_pcap(ObjectReader& reader, const PortConfig& port) {
    if (port.kind != PortKind::Pcap) return;
    if (port.rx.empty() && port.tx.empty())
        reader.fail("rx",
                    "a pcap port needs files to read (\"rx\"), one to write (\"tx\"), or both");
    if (port.rx.size() > kMaxPcapQueues)
        reader.fail("rx",
                    fmt::format("has {} files; the pcap driver has {} receive queues, one for "
                                "each file",
                                port.rx.size(), kMaxPcapQueues));
    for (const std::string& name : port.rx)
        if (name.empty() || name.find(',') != std::string::npos)
            reader.fail(
                "rx",
                fmt::format("\"{}\": a file name may be neither empty nor have a comma", name));
    if (port.tx.find(',') != std::string::npos)
        reader.fail("tx", "a file name may not have a comma");
}

void read_mac(ObjectReader& reader, PortConfig* port) {
    std::string text;
    reader.read("mac", &text);
    if (text.empty()) return;
    wire::Mac mac{};
    if (!parse_mac(text, &mac))
        return reader.fail("mac",
                           fmt::format("must be like \"02:00:00:00:00:01\", not \"{}\"", text));
    if ((mac[0] & 1U) != 0 || mac == wire::Mac{})
        return reader.fail("mac", "a port's own address is neither multicast nor zero");
    port->mac = mac;
}

void read_addresses(ObjectReader& reader, PortConfig* port, Errors& errors) {
    reader.each("addresses", [&](const json& element, const std::string& path) {
        if (element.is_string()) {
            const auto address = parse_interface_address(element.get_ref<const std::string&>());
            if (address) return port->addresses.push_back(*address);
        }
        errors.push_back(path +
                         ": must be an address with its prefix length, like \"192.0.2.1/24\", "
                         "not " +
                         value_text(element));
    });
}

void read_routes(ObjectReader& reader, PortConfig* port, Errors& errors) {
    reader.each("routes", [&](const json& element, const std::string& path) {
        ObjectReader entry(element, path, errors);
        std::string prefix;
        std::string via;
        entry.read("prefix", &prefix);
        entry.read("via", &via);
        entry.finish();
        const auto destination = parse_prefix(prefix);
        if (!destination)
            return entry.fail("prefix", fmt::format("must be a prefix without host bits, like "
                                                    "\"0.0.0.0/0\", not \"{}\"",
                                                    prefix));
        const auto gateway = parse_address(via);
        if (!gateway || gateway->family != destination->address.family)
            return entry.fail("via", fmt::format("must be an address of the prefix's family, not "
                                                 "\"{}\"",
                                                 via));
        const bool reachable =
            gateway->is_link_local() ||
            std::any_of(port->addresses.begin(), port->addresses.end(),
                        [&](const IpPrefix& own) { return own.contains(*gateway); });
        if (!reachable)
            return entry.fail("via", via + " is on none of the networks of the port's addresses");
        port->routes.push_back({*destination, *gateway});
    });
}

void read_neighbours(ObjectReader& reader, PortConfig* port, Errors& errors) {
    reader.each("neighbours", [&](const json& element, const std::string& path) {
        ObjectReader entry(element, path, errors);
        std::string address;
        std::string mac;
        entry.read("address", &address);
        entry.read("mac", &mac);
        entry.finish();
        NeighbourConfig neighbour;
        if (const auto parsed = parse_address(address))
            neighbour.address = *parsed;
        else
            return entry.fail("address", fmt::format("must be an IP address, not \"{}\"", address));
        if (!parse_mac(mac, &neighbour.mac))
            return entry.fail("mac",
                              fmt::format("must be like \"02:00:00:00:00:fe\", not \"{}\"", mac));
        port->neighbours.push_back(neighbour);
    });
}

void check_static(ObjectReader& reader, const PortConfig& port) {
    if (!port.mirrors_kernel()) return;
    for (const char* key : {"routes", "neighbours"})
        if (reader.has(key))
            reader.fail(key,
                        "without \"addresses\" this port mirrors the kernel's: give it addresses "
                        "too, or set this in the kernel");
}

void check_mac(ObjectReader& reader, const PortConfig& port) {
    if (port.mac && (port.kind == PortKind::AfXdp || port.kind == PortKind::AfPacket))
        reader.fail("mac", "is the kernel interface's: set it with `ip link set dev " +
                               port.interface + " address ...`");
}

}  // namespace

const char* to_string(PortKind kind) {
    for (const KindName& k : kKinds)
        if (k.kind == kind) return k.name;
    return "?";
}

bool parse_mac(const std::string& text, wire::Mac* out) {
    if (text.size() != 17) return false;
    wire::Mac mac{};
    for (std::size_t i = 0; i < 17; ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (i % 3 == 2) {
            if (c != ':') return false;
            continue;
        }
        if (std::isxdigit(c) == 0) return false;
        const int digit = std::isdigit(c) != 0 ? c - '0' : std::tolower(c) - 'a' + 10;
        mac[i / 3] = static_cast<std::uint8_t>(mac[i / 3] * 16 + digit);
    }
    *out = mac;
    return true;
}

PortConfig read_port(const json& value, const std::string& path, Errors& errors) {
    PortConfig port;
    ObjectReader reader(value, path, errors);
    if (!value.is_object()) return port;
    reader.read("name", &port.name);
    if (!good_name(port.name, 31))
        reader.fail("name", fmt::format("\"{}\": must be 1 to 31 characters of letters, digits and "
                                        "_ . -",
                                        port.name));
    const bool known = read_kind(reader, &port);
    reader.read("interface", &port.interface);
    reader.read("device", &port.device);
    reader.read("memif", &port.memif);
    reader.read("queues", &port.queues, 1, 64);
    reader.read("vlan_stripping", &port.vlan_stripping);
    std::uint16_t mtu{};
    if (reader.read("mtu", &mtu, kMinMtu, kMaxMtu)) port.mtu = mtu;
    read_mac(reader, &port);
    reader.read("rx", &port.rx);
    reader.read("tx", &port.tx);
    reader.read("infinite", &port.infinite);
    reader.read("gated", &port.gated);
    reader.read("packet_size", &port.packet_size, 60, 1514);
    read_addresses(reader, &port, errors);
    read_routes(reader, &port, errors);
    read_neighbours(reader, &port, errors);
    reader.finish();
    if (!known) return port;
    const unsigned pcap = bit(PortKind::Pcap);
    for (const char* key : {"rx", "tx", "infinite", "gated"}) only_for(reader, port, key, pcap);
    only_for(reader, port, "packet_size", bit(PortKind::Null));
    only_for(reader, port, "vlan_stripping", bit(PortKind::AfXdp));
    only_for(reader, port, "device", bit(PortKind::Pci));
    only_for(reader, port, "memif", bit(PortKind::Memif));
    only_for(reader, port, "queues", ~pcap & 0xffU);
    only_for(
        reader, port, "interface",
        bit(PortKind::AfXdp) | bit(PortKind::AfPacket) | bit(PortKind::Tap) | bit(PortKind::Pci));
    check_device(reader, port);
    check_pcap(reader, port);
    check_mac(reader, port);
    check_static(reader, port);
    return port;
}

}  // namespace dr

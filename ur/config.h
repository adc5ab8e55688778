// The site's configuration: the protobuf-JSON of dr.v1.UserRouterConfig (proto/dr/v1/api.proto), as
// `drcli subscriber ur-config NAME` writes it. Any thread; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "dataplane/tables/bucket_map.h"
#include "dataplane/tables/rib.h"

namespace dr::ur {

inline constexpr std::uint16_t kMinMtu = 1280;  // RFC 8200 §5
inline constexpr std::uint16_t kMaxMtu = 9000;

struct Tunnel {
    std::string line;
    unsigned slot{};     // line number
    std::string device;  // of the line; may be empty until the command line names one
    bool udp{};          // GRE-in-UDP
    IpAddress local;     // family 0: taken from the device
    IpAddress remote;
    std::uint32_t id{};          // GRE key
    std::uint16_t local_port{};  // GRE-in-UDP: fixed port; 0: entropy
    std::uint16_t mtu{};         // largest inner packet, bytes
};

struct Config {
    std::string subscriber;
    std::vector<IpPrefix> prefixes;
    // Line names by line number: order of first appearance over classes and tiers of the policy
    // (proto/TUNNEL.md §4), then tunnels whose line is in no class: those only receive.
    std::vector<std::string> lines;
    std::vector<Tiers> classes;
    std::uint32_t seed{};
    std::vector<Tunnel> tunnels;

    // Largest inner packet that fits every tunnel.
    [[nodiscard]] std::uint16_t mtu() const;
};

// All that is wrong, one message a line, each "JSON path: what is wrong; what would be right".
class ConfigError final : public std::runtime_error {
  public:
    explicit ConfigError(std::vector<std::string> messages);
    [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }

  private:
    std::vector<std::string> messages_;
};

// Throws ConfigError.
Config parse_config(const std::string& text);

// Sets the devices of lines, as `--line NAME=DEVICE` gives them, and checks that then every tunnel
// has one. Throws ConfigError.
void assign_devices(Config& config, const std::map<std::string, std::string>& devices);

}  // namespace dr::ur

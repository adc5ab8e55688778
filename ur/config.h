// The site's configuration. It comes from a file (ur/config_file.h) or from an attachment
// (ur/attachment.h); reader.h reads what both have. Any thread; no I/O.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/liveness/engine.h"
#include "dataplane/tables/bucket_map.h"

namespace dr::ur {

inline constexpr std::uint16_t kMinMtu = 1280;  // RFC 8200 §5
inline constexpr std::uint16_t kMaxMtu = 9000;
inline constexpr std::uint16_t kGreUdpPort = 4754;
inline constexpr unsigned kEthernetMtu = 1500;

// What a tunnel's outer headers take of a packet, bytes.
constexpr unsigned outer_overhead(std::uint8_t family, bool udp) {
    return (family == 6 ? 40U : 20U) + (udp ? 8U : 0U) + 8U;
}

struct Tunnel {
    std::string line;
    unsigned number{};   // of the line
    unsigned slot{};     // place in the data path (ur/bpf/shared.h)
    std::string device;  // of the line; may be empty until the command line names one
    bool udp{};          // GRE-in-UDP, as configured or to start with
    bool automatic{};    // with keepalives: native GRE while that passes
    IpAddress local;     // family 0: taken from the device
    IpAddress remote;
    std::uint32_t id{};          // GRE key
    std::uint16_t local_port{};  // GRE-in-UDP: fixed port; 0: entropy, or with keepalives urd's own
    std::uint16_t remote_port = kGreUdpPort;  // GRE-in-UDP
    std::uint16_t mtu{};                      // largest inner packet, bytes
    // Newest first, at most 2. None: no keepalives, and the tunnel is up while its line is.
    std::vector<liveness::TunnelKey> keys;
    liveness::ProfileId profile = liveness::ProfileId::Fixed;
};

struct Class {
    Tiers tiers;
    // What a line must keep to carry the class; 0: any.
    std::uint16_t max_loss_permille{};
    std::uint16_t max_rtt_ms{};
    std::uint16_t max_jitter_ms{};
    bool strict{};  // rather drop than use a line that does not
};

struct Config {
    std::string subscriber;
    std::vector<IpPrefix> prefixes;
    // Line names by line number, as the DR gives them (proto/TUNNEL.md §8); empty: no line has the
    // number. Lines to which it gives none take what is left, in order of first appearance over
    // classes and tiers of the policy, then tunnels whose line is in no class: those only receive.
    std::vector<std::string> lines;
    std::vector<Class> classes;
    std::uint32_t seed{};
    std::uint16_t policy_generation{};
    std::uint32_t restore_ms = 60'000;  // wait-to-restore; 0: never by itself
    std::vector<Tunnel> tunnels;

    // Largest inner packet that fits every tunnel; without a tunnel the least there may be.
    [[nodiscard]] std::uint16_t mtu() const;
    // Largest outer packet of any tunnel, 1500 at least.
    [[nodiscard]] unsigned outer_mtu() const;
};

// All that is wrong, one message a line, each "JSON path: what is wrong; what would be right".
class ConfigError final : public std::runtime_error {
  public:
    explicit ConfigError(std::vector<std::string> messages);
    [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }

  private:
    std::vector<std::string> messages_;
};

// Names of lines and classes as drd takes them: [a-z0-9][a-z0-9.-]*, at most `most` bytes.
inline constexpr std::size_t kMaxLineName = 31;
bool is_name(const std::string& text, std::size_t most);
// In quotes, and cut where it is too long to be repeated in a message.
std::string quoted(const std::string& text);

// What is wrong with one of the site's prefixes by itself; empty: nothing.
std::string check_prefix(const IpPrefix& prefix);

// The number of the line of this name; a new one, which may be too large, when the name is new.
unsigned line_number(Config& config, const std::string& name);
// Gives the line its number before any line_number(). Empty, or what is wrong with that.
std::string set_line_number(Config& config, const std::string& name, std::uint64_t number);
// The greatest value of Class's limits.
inline constexpr std::uint16_t kMaxLossPermille = 999;
inline constexpr std::uint16_t kMaxDelayMs = 60'000;

// Sets the devices of lines, as `--line NAME=DEVICE` gives them, and checks that then every tunnel
// has one. Throws ConfigError.
void assign_devices(Config& config, const std::map<std::string, std::string>& devices);

}  // namespace dr::ur

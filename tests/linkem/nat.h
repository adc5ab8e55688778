// The NAT of a line, as a CPE or a carrier has one, for one address family.
//
// What comes from the inside address leaves with the outside address; the ports of UDP and TCP are
// mapped too, from `first_port` upwards in the order in which flows appear, so the same packets get
// the same ports. GRE and ICMP have their addresses translated one to one. Checksums are updated as
// RFC 1624 says; a UDP checksum of zero stays zero. ICMP errors are translated with what they
// quote.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "tests/linkem/packet.h"

namespace dr::linkem {

struct Address {
    std::uint8_t family = 0;               // 4 or 6
    std::array<std::uint8_t, 16> bytes{};  // IPv4 in the first four

    // Throws std::invalid_argument naming the text.
    static Address parse(const std::string& text);
    std::string text() const;
    std::size_t size() const { return family == 4 ? 4 : 16; }
    auto operator<=>(const Address&) const = default;
};

struct NatSettings {
    Address inside;
    Address outside;  // may be the same: then only ports change
    std::uint16_t first_port = 20000;
    bool symmetric = false;  // a mapping of its own for each remote address and port
    bool gre = true;         // false: drops native GRE, as most NATs do
};

class Nat {
  public:
    enum class Result : std::uint8_t { Untouched, Translated, Unmapped, Refused };

    explicit Nat(const NatSettings& settings)
        : settings_(settings), next_port_(settings.first_port) {}

    const NatSettings& settings() const { return settings_; }
    std::size_t mappings() const { return by_flow_.size(); }

    // From the inside to the outside, and back. `packet` is what parse() says of the frame.
    Result outbound(Bytes frame, const Packet& packet);
    Result inbound(Bytes frame, const Packet& packet);

    // Forgets every mapping, as a NAT that restarts. New ports begin at `first_port`, and the
    // outside address becomes `outside`; what comes to a former one is Unmapped.
    void rebind(const Address& outside, std::uint16_t first_port);
    std::uint16_t next_port() const { return next_port_; }

  private:
    struct Flow {
        std::uint8_t protocol = 0;
        std::uint16_t inside_port = 0;
        Address remote;  // of symmetric mappings only
        std::uint16_t remote_port = 0;
        auto operator<=>(const Flow&) const = default;
    };

    Flow flow(std::uint8_t protocol, std::uint16_t port, const Address& remote,
              std::uint16_t remote_port) const;
    std::uint16_t map_out(const Flow& flow);  // 0: no port left
    std::uint16_t map_in(std::uint8_t protocol, std::uint16_t outside_port, const Address& remote,
                         std::uint16_t remote_port) const;  // 0: none
    Result translate_error(Bytes frame, const Packet& packet, bool inwards);

    NatSettings settings_;
    std::uint16_t next_port_;
    std::map<Flow, std::uint16_t> by_flow_;
    std::map<std::pair<std::uint8_t, std::uint16_t>, Flow> by_port_;
    std::set<Address> former_;
};

}  // namespace dr::linkem

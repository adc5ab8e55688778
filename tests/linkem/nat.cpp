#include "tests/linkem/nat.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "dataplane/wire/checksum.h"

namespace dr::linkem {
namespace {

constexpr std::size_t kMostMappings = 40000;
constexpr std::uint16_t kLeastPort = 1024;

bool has_ports(std::uint8_t protocol) {
    return protocol == kUdp || protocol == kTcp;
}

// One packet in a frame, whole or quoted by an ICMP error, and edits of it that keep its checksums
// right.
class Editor {
  public:
    Editor(Bytes frame, std::size_t ip, const Packet& packet)
        : frame_(frame), ip_(ip), packet_(packet) {}

    Address source() const { return address(packet_.family == 4 ? 12 : 8); }
    Address destination() const { return address(packet_.family == 4 ? 16 : 24); }
    void set_source(const Address& a) { set_address(packet_.family == 4 ? 12 : 8, a); }
    void set_destination(const Address& a) { set_address(packet_.family == 4 ? 16 : 24, a); }

    bool ports_there() const {
        return has_ports(packet_.protocol) && !packet_.later_fragment &&
               frame_.size() >= packet_.transport + 4;
    }
    std::uint16_t source_port() const { return load16(frame_, packet_.transport); }
    std::uint16_t destination_port() const { return load16(frame_, packet_.transport + 2); }
    void set_source_port(std::uint16_t port) { set_port(0, port); }
    void set_destination_port(std::uint16_t port) { set_port(2, port); }

  private:
    Address address(std::size_t at) const {
        Address a{.family = packet_.family, .bytes = {}};
        std::copy_n(frame_.begin() + static_cast<std::ptrdiff_t>(ip_ + at), a.size(),
                    a.bytes.begin());
        return a;
    }

    void set_address(std::size_t at, const Address& to) {
        for (std::size_t i = 0; i < to.size(); i += 2) {
            const std::uint16_t before = load16(frame_, ip_ + at + i);
            const auto after = load16(ConstBytes(to.bytes), i);
            store16(frame_, ip_ + at + i, after);
            if (packet_.family == 4) update(ip_ + 10, before, after);
            update_transport(before, after);
        }
    }

    void set_port(std::size_t at, std::uint16_t port) {
        const auto before = load16(frame_, packet_.transport + at);
        store16(frame_, packet_.transport + at, port);
        update_transport(before, port);
    }

    // The checksum that covers ports and, by the pseudo header, addresses.
    std::optional<std::size_t> checksum_field() const {
        if (packet_.later_fragment) return std::nullopt;
        if (packet_.protocol == kUdp) return packet_.transport + 6;
        if (packet_.protocol == kTcp) return packet_.transport + 16;
        if (packet_.protocol == kIcmp6) return packet_.transport + 2;
        return std::nullopt;
    }

    void update_transport(std::uint16_t before, std::uint16_t after) {
        const auto field = checksum_field();
        if (!field || frame_.size() < *field + 2) return;
        const bool udp = packet_.protocol == kUdp;
        if (udp && load16(frame_, *field) == 0) return;
        update(*field, before, after);
        // RFC 768: a computed zero is sent as all ones.
        if (udp && load16(frame_, *field) == 0) store16(frame_, *field, 0xffff);
    }

    void update(std::size_t field, std::uint16_t before, std::uint16_t after) {
        const auto old = Be16::from(load16(frame_, field));
        store16(frame_, field,
                wire::checksum_update(old, Be16::from(before), Be16::from(after)).host());
    }

    Bytes frame_;
    std::size_t ip_;
    const Packet& packet_;
};

bool is_icmp_error(ConstBytes frame, const Packet& packet) {
    if (packet.later_fragment || frame.size() < packet.transport + 8) return false;
    const auto type = frame[packet.transport];
    if (packet.protocol == kIcmp6) return packet.family == 6 && type < 128;
    return packet.protocol == kIcmp4 && (type == 3 || type == 11 || type == 12);
}

// What an ICMP error quotes has changed: its checksum over everything, anew.
void finish_icmp(Bytes frame, const Packet& packet) {
    const std::size_t bytes = kEthernetBytes + packet.ip_bytes - packet.transport;
    std::uint64_t sum = 0;
    if (packet.family == 6) {
        sum = wire::checksum_add(&frame[kEthernetBytes + 8], 32, 0);
        const std::array<std::uint8_t, 8> rest{
            0, 0,     static_cast<std::uint8_t>(bytes >> 8), static_cast<std::uint8_t>(bytes), 0, 0,
            0, kIcmp6};
        sum = wire::checksum_add(rest.data(), rest.size(), sum);
    }
    store16(frame, packet.transport + 2, 0);
    store16(frame, packet.transport + 2,
            wire::checksum(&frame[packet.transport], bytes, sum).host());
}

}  // namespace

Address Address::parse(const std::string& text) {
    Address a;
    if (inet_pton(AF_INET, text.c_str(), a.bytes.data()) == 1)
        a.family = 4;
    else if (inet_pton(AF_INET6, text.c_str(), a.bytes.data()) == 1)
        a.family = 6;
    else
        throw std::invalid_argument("\"" + text + "\" is no IPv4 or IPv6 address");
    return a;
}

std::string Address::text() const {
    std::array<char, INET6_ADDRSTRLEN> buffer{};
    inet_ntop(family == 4 ? AF_INET : AF_INET6, bytes.data(), buffer.data(), buffer.size());
    return buffer.data();
}

Nat::Flow Nat::flow(std::uint8_t protocol, std::uint16_t port, const Address& remote,
                    std::uint16_t remote_port) const {
    Flow one;
    one.protocol = protocol;
    one.inside_port = port;
    if (settings_.symmetric) {
        one.remote = remote;
        one.remote_port = remote_port;
    }
    return one;
}

std::uint16_t Nat::map_out(const Flow& flow) {
    if (const auto known = by_flow_.find(flow); known != by_flow_.end()) return known->second;
    if (by_flow_.size() >= kMostMappings) return 0;
    while (next_port_ < kLeastPort || by_port_.contains({flow.protocol, next_port_}))
        next_port_ =
            next_port_ < kLeastPort ? kLeastPort : static_cast<std::uint16_t>(next_port_ + 1);
    by_flow_[flow] = next_port_;
    by_port_[{flow.protocol, next_port_}] = flow;
    return next_port_++;
}

std::uint16_t Nat::map_in(std::uint8_t protocol, std::uint16_t outside_port, const Address& remote,
                          std::uint16_t remote_port) const {
    const auto found = by_port_.find({protocol, outside_port});
    if (found == by_port_.end()) return 0;
    const auto& known = found->second;
    if (settings_.symmetric && (known.remote != remote || known.remote_port != remote_port))
        return 0;
    return known.inside_port;
}

Nat::Result Nat::outbound(Bytes frame, const Packet& packet) {
    if (packet.family != settings_.inside.family) return Result::Untouched;
    Editor editor(frame, kEthernetBytes, packet);
    if (editor.source() != settings_.inside) return Result::Untouched;
    if (packet.protocol == kGre && !settings_.gre) return Result::Refused;
    if (is_icmp_error(frame, packet)) return translate_error(frame, packet, false);
    if (editor.ports_there()) {
        const auto port = map_out(flow(packet.protocol, editor.source_port(), editor.destination(),
                                       editor.destination_port()));
        if (port == 0) return Result::Refused;
        editor.set_source_port(port);
    }
    editor.set_source(settings_.outside);
    return Result::Translated;
}

Nat::Result Nat::inbound(Bytes frame, const Packet& packet) {
    if (packet.family != settings_.inside.family) return Result::Untouched;
    Editor editor(frame, kEthernetBytes, packet);
    const auto to = editor.destination();
    if (to != settings_.outside)
        return to == settings_.inside || former_.contains(to) ? Result::Unmapped
                                                              : Result::Untouched;
    if (packet.protocol == kGre && !settings_.gre) return Result::Refused;
    if (is_icmp_error(frame, packet)) return translate_error(frame, packet, true);
    if (editor.ports_there()) {
        const auto port = map_in(packet.protocol, editor.destination_port(), editor.source(),
                                 editor.source_port());
        if (port == 0) return Result::Unmapped;
        editor.set_destination_port(port);
    }
    editor.set_destination(settings_.inside);
    return Result::Translated;
}

// An error that comes in quotes a packet that went out, and the other way round.
Nat::Result Nat::translate_error(Bytes frame, const Packet& packet, bool inwards) {
    const std::size_t ip = packet.transport + 8;
    const Packet quoted = parse_quoted(frame, ip);
    Editor outer(frame, kEthernetBytes, packet);
    if (quoted.family == packet.family) {
        Editor inner(frame, ip, quoted);
        if (inwards && inner.source() == settings_.outside) {
            if (inner.ports_there()) {
                const auto port = map_in(quoted.protocol, inner.source_port(), inner.destination(),
                                         inner.destination_port());
                if (port == 0) return Result::Unmapped;
                inner.set_source_port(port);
            }
            inner.set_source(settings_.inside);
        } else if (!inwards && inner.destination() == settings_.inside) {
            if (inner.ports_there()) {
                const auto known = by_flow_.find(flow(quoted.protocol, inner.destination_port(),
                                                      inner.source(), inner.source_port()));
                if (known == by_flow_.end()) return Result::Unmapped;
                inner.set_destination_port(known->second);
            }
            inner.set_destination(settings_.outside);
        }
    }
    if (inwards)
        outer.set_destination(settings_.inside);
    else
        outer.set_source(settings_.outside);
    finish_icmp(frame, packet);
    return Result::Translated;
}

void Nat::rebind(const Address& outside, std::uint16_t first_port) {
    if (outside != settings_.outside) former_.insert(settings_.outside);
    former_.erase(outside);
    settings_.outside = outside;
    settings_.first_port = next_port_ = first_port;
    by_flow_.clear();
    by_port_.clear();
}

}  // namespace dr::linkem

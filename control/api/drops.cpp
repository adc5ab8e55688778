// Answers System.ListDrops: reads the drops memfd and looks up the owners.
#include "control/api/drops.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/api/crud.h"
#include "control/telemetry/live_proto.h"

namespace dr::control {
namespace {

constexpr std::uint32_t kLimit = 16, kMostLimit = 1000;

std::string mac_text(const std::array<std::uint8_t, 6>& mac) {
    return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                       mac[4], mac[5]);
}

std::string end_text(const IpAddress& address, std::uint16_t port) {
    return endpoint_text(address.family, address.bytes, port);
}

IpPrefix alone(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.bits())};
}

void fill_frame(const DroppedFrame& frame, v1::DroppedPacket& out) {
    out.set_source_mac(mac_text(frame.source_mac));
    out.set_destination_mac(mac_text(frame.destination_mac));
    out.set_ether_type(frame.ether_type);
    if (frame.vlan) out.set_vlan(*frame.vlan);
    if (const auto& ip = frame.ip) {
        out.set_source(end_text(ip->source, ip->source_port));
        out.set_destination(end_text(ip->destination, ip->destination_port));
        out.set_protocol(ip->protocol);
    }
    if (frame.key) out.set_key(*frame.key);
    out.set_keepalive(frame.keepalive);
    if (const auto& inner = frame.inner) {
        out.set_inner_source(end_text(inner->source, inner->source_port));
        out.set_inner_destination(end_text(inner->destination, inner->destination_port));
        out.set_inner_protocol(inner->protocol);
    }
}

}  // namespace

bool Drops::name_by_tunnel(std::uint32_t id, v1::DroppedPacket& out) {
    if (id == 0) return false;
    const auto s = catalog_.subscriber_by_tunnel(id);
    if (!s) return false;
    // Compares the whole id: a key of an earlier generation does not belong to the slot's present
    // owner.
    const auto tunnel = std::find_if(s->tunnels().begin(), s->tunnels().end(),
                                     [id](const v1::Tunnel& t) { return t.id() == id; });
    if (tunnel == s->tunnels().end()) return false;
    out.set_known_by(v1::DroppedPacket::TUNNEL);
    out.set_subscriber(s->name());
    out.set_line(tunnel->line());
    out.set_tunnel_id(id);
    return true;
}

bool Drops::name_by_prefix(const IpAddress& address, v1::DroppedPacket::KnownBy by,
                           v1::DroppedPacket& out) {
    Catalog::Query query;
    query.within = alone(address);
    query.limit = 1;
    const auto page = catalog_.list(Kind::Subscriber, query);
    if (page.objects.empty()) return false;
    out.set_known_by(by);
    out.set_subscriber(std::get<v1::Subscriber>(page.objects.front()).name());
    return true;
}

void Drops::name_by_end(const IpAddress& address, v1::DroppedPacket& out) {
    std::uint32_t id = catalog_.subscriber_with_end(address);
    if (id == 0) {
        const std::lock_guard lock(mutex_);
        if (const auto end = learned_.inside(alone(address))) id = end->second;
    }
    const auto s = id != 0 ? catalog_.subscriber_by_id(id) : std::nullopt;
    if (!s) return;
    out.set_known_by(v1::DroppedPacket::OUTER_SOURCE);
    out.set_subscriber(s->name());
}

// Tries the most certain evidence first: the key, then the owners of the addresses.
void Drops::name_owner(const southbound::DropState& packet, const DroppedFrame& frame,
                       v1::DroppedPacket& out) {
    if (name_by_tunnel(packet.into, out) || name_by_tunnel(packet.from, out) ||
        name_by_tunnel(frame.key.value_or(0), out))
        return;
    if (frame.inner && name_by_prefix(frame.inner->source, v1::DroppedPacket::INNER_SOURCE, out))
        return;
    if (!frame.ip) return;
    if (!frame.key && name_by_prefix(frame.ip->destination, v1::DroppedPacket::DESTINATION, out))
        return;
    name_by_end(frame.ip->source, out);
}

grpc::Status Drops::list(const v1::ListDropsRequest& request, v1::ListDropsResponse& response) {
    const auto counters = link_.counters();
    const auto drops = link_.drops();
    if (!counters || !drops)
        return {grpc::StatusCode::UNAVAILABLE,
                counters ? "the data plane's notes of dropped packets cannot be read"
                         : "the data plane is away, and its notes of dropped packets with it: " +
                               link_.status(false).detail};
    if (request.limit() > kMostLimit)
        return invalid_argument("limit", fmt::format("is at most {}", kMostLimit));
    const auto exits = counters->exits();
    const auto exit = std::find_if(exits.begin(), exits.end(),
                                   [&](const auto& e) { return e.name == request.exit(); });
    if (exit == exits.end() || !exit->name.starts_with("drop."))
        return invalid_argument("exit",
                                "is the name of a drop reason as ListExits has it, "
                                "\"drop.unknown_tunnel\"");
    const WallClock clock;
    std::size_t left = request.limit() == 0 ? kLimit : request.limit();
    for (const DropsMap::Sample& sample :
         drops->samples(static_cast<std::uint32_t>(exit - exits.begin()))) {
        if (left-- == 0) break;
        const southbound::DropState& packet = sample.packet;
        const DroppedFrame frame = read_frame({packet.frame.data(), packet.head});
        v1::DroppedPacket& out = *response.add_packets();
        fill_time(clock.at_us(sample.at_ns), *out.mutable_at());
        out.set_port(counters->port_name(packet.port));
        out.set_leaving((packet.flags & southbound::DropState::kLeaving) != 0);
        out.set_length(packet.length);
        fill_frame(frame, out);
        name_owner(packet, frame, out);
    }
    return grpc::Status::OK;
}

}  // namespace dr::control

// Prints `drcli stats drops --last` and the drops of a tunnel.
#include "cli/drops.h"

#include <fmt/format.h>
#include <google/protobuf/empty.pb.h>
#include <grpcpp/client_context.h>

#include "cli/connection.h"
#include "cli/errors.h"
#include "cli/liveness_text.h"
#include "cli/paging.h"
#include "dr/v1/api.grpc.pb.h"

namespace dr::cli {
namespace {

using dr::v1::DroppedPacket;

std::string or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

// A frame that is not an IP packet is shown by its Ethernet header.
std::string source_text(const DroppedPacket& packet) {
    return packet.source().empty() ? packet.source_mac() : packet.source();
}

std::string destination_text(const DroppedPacket& packet) {
    const std::string vlan = packet.has_vlan() ? fmt::format(" VLAN {}", packet.vlan()) : "";
    if (!packet.destination().empty()) {
        return packet.destination() + vlan;
    }
    return fmt::format("{} type 0x{:04x}{}", packet.destination_mac(), packet.ether_type(), vlan);
}

std::string inner_text(const DroppedPacket& packet) {
    if (packet.keepalive()) {
        return "keepalive";
    }
    return packet.inner_source().empty()
               ? "-"
               : packet.inner_source() + " > " + packet.inner_destination();
}

std::string whose_text(const DroppedPacket& packet) {
    switch (packet.known_by()) {
        case DroppedPacket::TUNNEL:
            return fmt::format("{}, tunnel {} of line {}", packet.subscriber(), packet.tunnel_id(),
                               packet.line());
        case DroppedPacket::INNER_SOURCE:
            return packet.subscriber() + ", by its inner source";
        case DroppedPacket::OUTER_SOURCE:
            return packet.subscriber() + ", by where it comes from";
        case DroppedPacket::DESTINATION:
            return packet.subscriber() + ", by its destination";
        default:
            return "-";
    }
}

}  // namespace

int list_drops(Context& context, const std::string& exit, std::uint32_t limit) {
    auto stub = dr::v1::System::NewStub(context.channel());
    dr::v1::ListDropsRequest request;
    request.set_exit(exit.starts_with("drop.") ? exit : "drop." + exit);
    request.set_limit(limit);
    dr::v1::ListDropsResponse response;
    check(context, unary([&](grpc::ClientContext& client) {
              return stub->ListDrops(&client, request, &response);
          }));
    ListWriter writer(context, {{"TIME"},
                                {"PORT"},
                                {"BYTES", Align::Right},
                                {"SOURCE"},
                                {"DESTINATION"},
                                {"KEY", Align::Right},
                                {"INSIDE"},
                                {"WHOSE"}});
    writer.add(response.packets(), [](const DroppedPacket& packet) {
        return std::vector<std::string>{time_text(packet.at()),
                                        (packet.leaving() ? "to " : "") + packet.port(),
                                        std::to_string(packet.length()),
                                        source_text(packet),
                                        destination_text(packet),
                                        packet.has_key() ? std::to_string(packet.key()) : "-",
                                        inner_text(packet),
                                        or_dash(whose_text(packet))};
    });
    writer.end();
    return kExitOk;
}

std::string drops_text(const dr::v1::TunnelStatus& status) {
    std::uint64_t all = 0;
    std::string reasons;
    for (const auto& drops : status.drops()) {
        all += drops.packets();
        reasons +=
            fmt::format("{}{} {}", reasons.empty() ? "" : ", ",
                        drops.exit().empty() ? "other reasons" : drops.exit(), drops.packets());
    }
    if (all == 0) {
        return status.has_counters() ? "0 packets" : "-";
    }
    return fmt::format("{} packet{}: {}", all, all == 1 ? "" : "s", reasons);
}

}  // namespace dr::cli
